package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

var errNoPair = errors.New("the addresses that the server told are not those of two sockets")

// Hairpin reports whether the NAT turns packets round that are sent from inside to its own outside address (RFC 4787
// section 6), which is the only way between two hosts behind it that do not share a network. Two spare sockets ask the
// server for their addresses and send to each other, both, because a filter may want that. It takes up to 2 s. A yes is
// certain. A no may also come from a mapping that depends on the destination.
//
// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.5
func (p *Prober) Hairpin(ctx context.Context, server netip.AddrPort) (bool, error) {
	var sockets [2]*spare
	var seen [2]netip.AddrPort
	for i := range sockets {
		s, err := p.open()
		if err != nil {
			return false, err
		}
		defer s.close()
		r, err := s.Binding(ctx, server)
		if err != nil {
			return false, err
		}
		sockets[i], seen[i] = s, r.Mapped
	}
	if seen[0] == seen[1] || scope(seen[0].Addr()) != scope(server.Addr()) || scope(seen[1].Addr()) != scope(server.Addr()) {
		return false, fmt.Errorf("stunclient: hairpin test with %v: %w", server, errNoPair)
	}
	turned := make(chan struct{})
	var closed atomic.Bool
	var requests [2]*transaction
	for i, s := range sockets {
		requests[i] = &transaction{server: seen[1-i], answers: make(chan answer, 1)} // an answer tells nothing
		if err := s.begin(requests[i], time.Now()); err != nil {
			return false, failure(server, err)
		}
	}
	for i, s := range sockets {
		s.overhear(func(b []byte, _ netip.AddrPort) {
			if IsSTUN(b) && idOf(b) == requests[1-i].id && closed.CompareAndSwap(false, true) {
				close(turned)
			}
		})
	}
	return hairpinLoop(ctx, sockets, requests, turned)
}

// hairpinLoop sends both ways until something arrives or the transactions' time is over.
func hairpinLoop(ctx context.Context, sockets [2]*spare, requests [2]*transaction, turned <-chan struct{}) (bool, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-turned:
			return true, nil
		case <-ctx.Done():
			return false, fmt.Errorf("stunclient: hairpin test: %w", context.Cause(ctx))
		case now := <-timer.C:
			for i, t := range requests {
				if t.step(now) != nil {
					return false, nil // silence is the answer
				}
				_ = sockets[i].send(t.request, t.server) // counts as lost
			}
			timer.Reset(time.Until(requests[0].due))
		}
	}
}
