package stunclient

import (
	"context"
	"fmt"
	"net/netip"
)

const maxSamples = 32

// Sample is what a server saw of a spare socket that sent its first packet.
type Sample struct {
	Local  uint16 // the socket's port
	Server netip.AddrPort
	Mapped netip.AddrPort
}

// Samples opens n spare sockets, at most 32, one after the other, and asks one of the servers on each, in turns, for the
// address it sees. So the NAT makes n new mappings, whose ports show how it chooses them. Servers that do not answer
// cost 2.5 s and a sample. It returns an error only when it has no sample.
func (p *Prober) Samples(ctx context.Context, servers []netip.AddrPort, n int) (out []Sample, err error) {
	if len(servers) == 0 {
		return nil, fmt.Errorf("stunclient: sample mappings: %w", errNoServer)
	}
	n = min(n, maxSamples)
	open := make([]*spare, 0, n) // until the end, so that no port is given twice
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	for i := range n {
		s, e := p.open()
		if e != nil {
			err = e
			break
		}
		open = append(open, s)
		r, e := s.Binding(ctx, servers[i%len(servers)])
		if e != nil {
			if err = e; ctx.Err() != nil {
				break
			}
			continue
		}
		out = append(out, Sample{s.port, r.Server, r.Mapped})
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, err
}
