package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// The simulated link: the same in both directions.
const (
	linkRate  = 100_000_000 // bits per second
	linkRTT   = 50 * time.Millisecond
	linkQueue = linkRate / 8 * int(linkRTT/time.Millisecond) / 1000 // bytes: one bandwidth-delay product
	ipHeaders = 20 + 8                                              // bytes of IPv4 and UDP, which the link carries too
)

// benchLossy returns a benchmark of one stream through the simulated link, in real time.
func benchLossy(loss float64) func(context.Context, contender, sizes) (result, error) {
	return func(ctx context.Context, c contender, s sizes) (_ result, err error) {
		if c.over == nil {
			return nil, errNotPossible
		}
		n := netsim.New(netsim.Config{Seed: 1})
		defer func() { err = errors.Join(err, n.Close()) }()
		client, server, err := linked(n, loss)
		if err != nil {
			return nil, err
		}
		p, err := c.over(ctx, client, server)
		if err != nil {
			return nil, err
		}
		defer p.close()
		packets, bytes := client.packets.Load(), client.bytes.Load()
		t, err := p.send(s.lossy, s.limit)
		if err != nil {
			return nil, err
		}
		packets, bytes = client.packets.Load()-packets, client.bytes.Load()-bytes
		got := float64(t.received)
		r := result{
			{"part of link", t.bitsPerSecond() / linkRate},
			{"wire/delivered", float64(bytes+ipHeaders*packets) / got},
		}
		if loss == 0 {
			r = append(r, figure{"overhead B/packet", (float64(bytes) - got) / float64(packets)})
		}
		return r, nil
	}
}

// linked makes two hosts, the first behind the simulated link, and a socket on each.
func linked(n *netsim.Network, loss float64) (client, server *countedConn, err error) {
	link := netsim.Link{Delay: linkRTT / 2, Loss: loss, Rate: linkRate, Queue: linkQueue}
	a := n.NewHost("client", n.Internet(), link, netip.MustParseAddr("192.0.2.1"))
	b := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("192.0.2.2"))
	ca, err := a.ListenUDP(netip.MustParseAddrPort("192.0.2.1:7337"))
	if err != nil {
		return nil, nil, err
	}
	cb, err := b.ListenUDP(netip.MustParseAddrPort("192.0.2.2:7337"))
	if err != nil {
		return nil, nil, err
	}
	return &countedConn{Conn: ca}, &countedConn{Conn: cb}, nil
}

// A countedConn counts what it sends.
type countedConn struct {
	*netsim.Conn
	packets, bytes atomic.Int64 // bytes of UDP payload
}

func (c *countedConn) count(b []byte) {
	c.packets.Add(1)
	c.bytes.Add(int64(len(b)))
}

// WriteBatch is what xppg sends by.
func (c *countedConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	for _, b := range bufs {
		c.count(b)
	}
	return c.Conn.WriteBatch(bufs, addrs)
}

// WriteTo is what the others send by.
func (c *countedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.count(b)
	return c.Conn.WriteTo(b, to)
}
