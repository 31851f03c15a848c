package main

import (
	"context"
	"io"
	"net"

	"github.com/xtaci/kcp-go/v5"
)

// Windows in segments: on loopback the one that is fastest, on the simulated link the best of 512, 768 and 1,024.
const (
	kcpLoopbackWindow = 4096
	kcpLinkWindow     = 1024
)

// kcpLoopback gives kcp-go sockets of the system, on which it moves batches. Nothing is encrypted.
func kcpLoopback(ctx context.Context) (*pipe, error) {
	a, err := listenLoopback()
	if err != nil {
		return nil, err
	}
	b, err := listenLoopback()
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return kcpPipe(ctx, a, b, kcpLoopbackWindow)
}

func kcpOver(ctx context.Context, client, server *countedConn) (*pipe, error) {
	return kcpPipe(ctx, client, server, kcpLinkWindow)
}

func kcpPipe(ctx context.Context, client, server net.PacketConn, window int) (*pipe, error) {
	p := &pipe{}
	p.onClose(client.Close)
	p.onClose(server.Close)
	listener, err := kcp.ServeConn(nil, 0, 0, server)
	if err != nil {
		p.close()
		return nil, err
	}
	p.onClose(listener.Close)
	session, err := kcp.NewConn2(server.LocalAddr(), nil, 0, 0, client)
	if err != nil {
		p.close()
		return nil, err
	}
	p.onClose(session.Close)
	tuneKCP(session, window)
	open := func() (io.ReadWriter, error) { return session, nil }
	accept := func() (io.ReadWriter, error) {
		accepted, err := listener.AcceptKCP()
		if err != nil {
			return nil, err
		}
		p.onClose(accepted.Close) // the listener does not
		p.onClose(func() error { return endListening(listener, server) })
		tuneKCP(accepted, window)
		return accepted, nil
	}
	return p.meet(ctx, open, accept)
}

// endListening closes the socket and returns when the listener has read the last packet from it: one that arrived after
// the end of the accepted session would make another, which nobody closes.
func endListening(listener *kcp.Listener, socket net.PacketConn) error {
	err := socket.Close()
	for {
		late, ended := listener.AcceptKCP()
		if ended != nil {
			return err
		}
		_ = late.Close() // the measurement is over
	}
}

// tuneKCP sets what is known as the fast mode.
func tuneKCP(s *kcp.UDPSession, window int) {
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(window, window)
	s.SetWriteDelay(false)
	s.SetACKNoDelay(false)
}
