package main

import (
	"context"
	"io"
	"net"

	"github.com/quic-go/quic-go"
)

// quicWindow is enough for every path measured here, so that flow control limits nothing.
const quicWindow = 32 << 20

var quicConfig = &quic.Config{
	InitialStreamReceiveWindow:     quicWindow,
	MaxStreamReceiveWindow:         quicWindow,
	InitialConnectionReceiveWindow: quicWindow,
	MaxConnectionReceiveWindow:     quicWindow,
}

// quicLoopback gives quic-go sockets of the system, on which it uses GSO.
func quicLoopback(ctx context.Context) (*pipe, error) {
	a, err := listenLoopback()
	if err != nil {
		return nil, err
	}
	b, err := listenLoopback()
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return quicPipe(ctx, a, b)
}

func quicOver(ctx context.Context, client, server *countedConn) (*pipe, error) {
	return quicPipe(ctx, client, server)
}

func quicPipe(ctx context.Context, client, server net.PacketConn) (*pipe, error) {
	p := &pipe{}
	p.onClose(client.Close)
	p.onClose(server.Close)
	serverTLS, clientTLS, err := tlsConfigs()
	if err != nil {
		p.close()
		return nil, err
	}
	a, b := &quic.Transport{Conn: client}, &quic.Transport{Conn: server}
	p.onClose(a.Close)
	p.onClose(b.Close)
	listener, err := b.Listen(serverTLS, quicConfig)
	if err != nil {
		p.close()
		return nil, err
	}
	open := func() (io.ReadWriter, error) {
		conn, err := a.Dial(ctx, server.LocalAddr(), clientTLS, quicConfig)
		if err != nil {
			return nil, err
		}
		return conn.OpenStreamSync(ctx)
	}
	accept := func() (io.ReadWriter, error) {
		conn, err := listener.Accept(ctx)
		if err != nil {
			return nil, err
		}
		return conn.AcceptStream(ctx)
	}
	return p.meet(ctx, open, accept)
}
