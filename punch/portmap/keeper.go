package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	makeWithin   = 6 * time.Second
	removeWithin = time.Second
	checkEvery   = 25 * time.Second
	checkSoon    = time.Second // first, then twice as long each time
	verifyWithin = 5 * time.Second
	verifyAgain  = 2 * time.Second  // after it failed, once
	goodAfter    = 30 * time.Second // that it lived, if nobody could verify it
)

// keeper has one mapping of one family, and the goroutine that calls run. A mapping that dies is found out within 25 s
// plus two times 5 s and 2 s, so that a new one is there within a minute.
type keeper struct {
	c      *Client
	family family
	nonce  pcpNonce // the same as long as we run, so that a router that forgot nothing knows us again

	deaths map[deathKey]int // in this network: who failed goes to the back
	once   bool             // there was a good mapping in this network
	reason error            // why the last search made no mapping

	fruitless int // attempts in a row
}

var errNone = errors.New("no router here offers it")

type deathKey struct {
	gw       netip.Addr
	protocol Protocol
}

// held is a mapping and how it came about.
type held struct {
	choice
	lease
	expires time.Time // zero: never
}

func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		news := k.c.news()
		err := k.attempt(ctx, news)
		if err == nil || k.pause(ctx, news, retryAfter(k.fruitless, k.once)) {
			k.deaths, k.once, k.fruitless = nil, false, 0 // another network
		}
	}
}

// attempt looks for a mapping and keeps it until it dies, which is the error, as it is when there is none. There is no
// error when the network has changed or ctx has ended.
func (k *keeper) attempt(ctx context.Context, news <-chan struct{}) error {
	h, ok := k.find(ctx)
	if !ok {
		k.fruitless++
		k.c.tell(k.family, Mapping{Reason: text(k.reason)})
		return errNone
	}
	began := time.Now()
	state := Made
	err := k.hold(ctx, news, &h, &state)
	if state == Believed || time.Since(began) > goodAfter {
		k.once, k.fruitless = true, 0
	} else {
		k.fruitless++
	}
	k.died(h, err)
	k.remove(ctx, h.choice, h.lease)
	return err
}

// pause waits and reports whether the network has changed meanwhile.
func (k *keeper) pause(ctx context.Context, news <-chan struct{}, d time.Duration) (changed bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-news:
		return true
	case <-ctx.Done():
		return false
	}
}

// find looks for a router and lets it make a mapping. One that is behind another NAT is taken only if no other gateway
// does better.
func (k *keeper) find(ctx context.Context) (h held, ok bool) {
	gateways, err := k.c.o.Network.Gateways()
	all := k.choices(gateways)
	if err == nil && len(all) == 0 {
		err = errNoGateway
	}
	k.reason = err
	attempts := search(ctx, all, k.rank, func(c choice) bool {
		if ok && c.gw.Addr == h.gw.Addr {
			return true // it would be a second mapping of the same port at the same router
		}
		l, err := k.make(ctx, c, lease{})
		if err != nil {
			k.reason = fmt.Errorf("%v at %v: %w", c.protocol, c.gw.Addr, err)
			k.remove(ctx, c, lease{})
			return ctx.Err() == nil
		}
		isDouble := double(l.external.Addr(), k.c.o.Seen()) != NotDouble
		if ok && isDouble {
			k.remove(ctx, c, l)
			return true
		}
		if ok {
			k.remove(ctx, h.choice, h.lease)
		}
		h, ok = held{choice: c, lease: l, expires: expiry(l)}, true
		return isDouble
	})
	if err == nil && !ok && k.reason == nil {
		k.reason = errNone
	}
	k.c.searchEnded(k.family, attempts, err)
	return h, ok
}

// choices lists all ways there are.
func (k *keeper) choices(gateways []Gateway) (out []choice) {
	for _, gw := range gateways[:min(len(gateways), maxGateways)] {
		if !gw.Addr.IsValid() || !k.family.has(gw.Addr) || !k.family.has(gw.Local) {
			continue
		}
		l := link{k.c.o.Network, gw}
		out = append(out, choice{gw, PCP, &pcpWay{link: l, nonce: k.nonce}})
		if k.family == v4 {
			out = append(out, choice{gw, NATPMP, &pmpWay{link: l}}, choice{gw, UPnP, &igdWay{link: l, chance: k.c.fraction}})
		}
	}
	return out
}

// rank orders ways: the fewest deaths in this network, then the better protocol.
func (k *keeper) rank(c choice) int {
	return k.deaths[deathKey{c.gw.Addr, c.protocol}]*8 + int(PCP-c.protocol)
}

func (k *keeper) make(ctx context.Context, c choice, had lease) (lease, error) {
	ctx, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	return c.way.make(ctx, k.c.o.Port, had, k.c.o.Lifetime)
}

// remove takes back what was made, or may have been, also when ctx has ended.
func (k *keeper) remove(ctx context.Context, c choice, l lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	_ = c.way.remove(ctx, k.c.o.Port, l) // it expires by itself otherwise
}

// died notes the end of a mapping.
func (k *keeper) died(h held, err error) {
	if err == nil {
		k.c.tell(k.family, Mapping{})
		return
	}
	m := h.mapping(Dead, k.c.o.Seen())
	m.Reason = text(err)
	k.c.tell(k.family, m)
	if errors.Is(err, errLost) {
		return // it is no fault of the protocol
	}
	if k.deaths == nil {
		k.deaths = map[deathKey]int{}
	}
	k.deaths[deathKey{h.gw.Addr, h.protocol}]++
}

func (h held) mapping(s State, seen []netip.Addr) Mapping {
	return Mapping{State: s, Protocol: h.protocol, Gateway: h.gw.Addr, External: h.external, Expires: h.expires,
		Double: double(h.external.Addr(), seen)}
}

func expiry(l lease) time.Time {
	if l.lifetime == 0 {
		return time.Time{}
	}
	return time.Now().Add(l.lifetime)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
