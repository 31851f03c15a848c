package api

import (
	"context"
	"errors"
	"net/netip"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

const kindKnock = "xppg/knock" // request: send a packet to this address of mine yourself

// knockOf returns how to have a peer send to an address of ours, from where its link sends: see [stunclient.Knock].
func (pg *Playground) knockOf(peer kcptransport.PeerID) func(ctx context.Context, to netip.AddrPort, id dialBackToken) error {
	return func(ctx context.Context, to netip.AddrPort, id dialBackToken) error {
		ctx, cancel := context.WithTimeout(ctx, dialBackTimeout)
		defer cancel()
		b, err := to.MarshalBinary()
		if err != nil {
			return err
		}
		return pg.request(ctx, peer, kindKnock, dialBack{Addr: b, Token: id[:]}, nil)
	}
}

// answerKnock sends a few packets to another port of a peer, which finds out by them whether its NAT lets them in.
func (pg *Playground) answerKnock(m *Message) error {
	d, addr, err := pg.readDialBack(m)
	if err != nil {
		return m.ReplyError(err)
	}
	if err := pg.knock(addr, dialBackToken(d.Token)); err != nil {
		return m.ReplyError(err)
	}
	return m.Reply(true)
}

var errNotYours = errors.New("that is not the address you come from")

// readDialBack returns where a peer wants packets to go and what they are to carry, or why it gets none. Only a third peer is asked for
// packets to another address than that of who asks.
func (pg *Playground) readDialBack(m *Message) (d dialBack, addr netip.AddrPort, err error) {
	if err := m.Decode(&d); err != nil || addr.UnmarshalBinary(d.Addr) != nil || len(d.Token) != len(dialBackToken{}) {
		return d, addr, errors.New("malformed")
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	ip := addr.Addr()
	p, err := pg.peer(m.From)
	switch {
	case err != nil:
		return d, addr, err
	case !ip.IsValid() || addr.Port() == 0 || ip.IsMulticast() || ip.IsUnspecified() || punch.Private(ip):
		return d, addr, errors.New("that address is not one at which the public reaches anybody")
	case m.Kind == kindKnock && d.Final, !d.Final && !pg.seenAt(m.From, ip):
		return d, addr, errNotYours
	case !d.Final && !p.dialBackLimit.Allow(), !pg.dialBackLimit.Allow():
		return d, addr, errors.New("too many requests")
	}
	return d, addr, nil
}
