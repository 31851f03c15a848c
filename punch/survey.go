package punch

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/2xppg/xppg/stunclient"
)

const (
	surveyServers = 3 // with two addresses; more would tell little more
	surveySamples = 8 // find the block of ports that a carrier gives to a customer
)

// Survey finds out about the NAT for IPv4 all that takes spare sockets and seconds: by servers that have just answered,
// as a Client's Discover reports them. Those that named another address of theirs (RFC 5780) tell most. It takes about 3 s
// when the NAT filters, and sends at most some 100 packets. An error tells what could not be tested; the rest is found
// all the same. The lifetime of mappings, which takes minutes, is left out.
func Survey(ctx context.Context, p *stunclient.Prober, answered []stunclient.Result) (f Findings, err error) {
	var all, full []netip.AddrPort
	for _, r := range answered {
		if !r.Server.Addr().Is4() {
			continue
		}
		all = append(all, r.Server)
		if r.Other.IsValid() && len(full) < surveyServers && !twoOfOne(answered, full, r) {
			full = append(full, r.Server)
		}
	}
	if len(all) == 0 {
		return f, nil
	}
	f.Samples, err = p.Samples(ctx, all, surveySamples)

	var mu sync.Mutex
	var tests sync.WaitGroup
	for _, server := range full {
		tests.Go(func() {
			b, e := p.Behaviour(ctx, server)
			mu.Lock()
			defer mu.Unlock()
			if len(b.Sightings) > 0 {
				f.Behaviours = append(f.Behaviours, b)
			}
			if !errors.Is(e, stunclient.ErrUnsupported) { // many say that they have another address, and do nothing with it
				err = errors.Join(err, e)
			}
		})
	}
	tests.Go(func() {
		turned, e := p.Hairpin(ctx, all[0])
		mu.Lock()
		defer mu.Unlock()
		if e == nil {
			f.Hairpin = append(f.Hairpin, turned)
		}
		err = errors.Join(err, e)
	})
	tests.Wait()
	return f, err
}

// twoOfOne reports whether one of the servers is another address of the one that answered.
func twoOfOne(answered []stunclient.Result, servers []netip.AddrPort, r stunclient.Result) bool {
	for _, s := range servers {
		for _, a := range answered {
			if a.Server == s && (a.Server.Addr() == r.Server.Addr() || a.Other.Addr() == r.Server.Addr()) {
				return true
			}
		}
	}
	return false
}
