package main

import (
	"context"
	"io"
	"net/netip"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
)

// xppgLoopback runs a link over the sockets that a node uses.
func xppgLoopback(ctx context.Context) (*pipe, error) {
	a, err := udp.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b, err := udp.Listen("127.0.0.1:0")
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return xppgPipe(ctx, a, b)
}

func xppgOver(ctx context.Context, client, server *countedConn) (*pipe, error) {
	return xppgPipe(ctx, client, server)
}

func xppgPipe(ctx context.Context, client, server kcptransport.PacketConn) (*pipe, error) {
	p := &pipe{}
	a, err := p.xppgEndpoint(client)
	if err != nil {
		_ = server.Close()
		return nil, err
	}
	b, err := p.xppgEndpoint(server)
	if err != nil {
		p.close()
		return nil, err
	}
	open := func() (io.ReadWriter, error) {
		link, err := a.Dial(ctx, kcptransport.Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.LocalAddr()}})
		if err != nil {
			return nil, err
		}
		return link.OpenStream(ctx, "bench")
	}
	accept := func() (io.ReadWriter, error) {
		link, err := b.Accept(ctx)
		if err != nil {
			return nil, err
		}
		return link.AcceptStream(ctx)
	}
	return p.meet(ctx, open, accept)
}

// xppgEndpoint starts an endpoint that ends with p. It closes conn when it fails.
func (p *pipe) xppgEndpoint(conn kcptransport.PacketConn) (*kcptransport.Endpoint, error) {
	id, err := kcptransport.NewIdentity(nil)
	if err == nil {
		var e *kcptransport.Endpoint
		if e, err = kcptransport.Listen(kcptransport.Config{Conn: conn, Identity: id, App: "bench"}); err == nil {
			p.onClose(e.Close)
			return e, nil
		}
	}
	_ = conn.Close()
	return nil, err
}
