package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// A contender knows how to make one stream between two ends in this process, or how to run a relay.
type contender struct {
	name     string
	loopback func(ctx context.Context) (*pipe, error)
	// over runs on packet connections of the simulated network, which it owns. Nil where that is impossible.
	over func(ctx context.Context, client, server *countedConn) (*pipe, error)
	// forward starts a relay for a load, of those in relays.
	forward func(ctx context.Context, l load) (*flow, error)
}

var contenders = []contender{
	{"xppg", xppgLoopback, xppgOver, nil},
	{"quic-go", quicLoopback, quicOver, nil},
	{"kcp.UDPSession", kcpLoopback, kcpOver, nil},
	{"TCP+TLS 1.3", tlsLoopback, nil, nil},
}

// A pipe is one stream, seen from both of its ends.
type pipe struct {
	client, server io.ReadWriter

	mu      sync.Mutex
	closed  bool
	closers []func() error
}

// onClose adds what close has to do. The last added is done first. On a pipe that is closed it is done at once.
func (p *pipe) onClose(f func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = f()
		return
	}
	p.closers = append(p.closers, f)
}

// close ends the stream and all below it. Reads and writes under way fail.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, f := range slices.Backward(p.closers) {
		_ = f() // the measurement is over
	}
	p.closers = nil
}

// meet opens the stream on the client's side, accepts it on the server's, and returns when a first byte went each way,
// so that no handshake is part of what is measured later. When it fails, or ctx ends, it closes the pipe.
func (p *pipe) meet(ctx context.Context, open, accept func() (io.ReadWriter, error)) (*pipe, error) {
	stop := context.AfterFunc(ctx, p.close)
	accepted := make(chan error, 1)
	go func() {
		var err error
		if p.server, err = accept(); err == nil {
			err = echoOnce(p.server, make([]byte, 1))
		}
		accepted <- err
	}()
	var err error
	if p.client, err = open(); err == nil {
		err = ask(p.client, make([]byte, 1))
	}
	if err != nil {
		stop()
		p.close()
		return nil, errors.Join(fmt.Errorf("bench: opening a stream: %w", err), <-accepted)
	}
	if err = <-accepted; err != nil {
		stop()
		p.close()
		return nil, fmt.Errorf("bench: accepting a stream: %w", err)
	}
	if !stop() {
		return nil, fmt.Errorf("bench: opening a stream: %w", ctx.Err())
	}
	return p, nil
}

// ask sends b and reads as many bytes back into it.
func ask(rw io.ReadWriter, b []byte) error {
	if _, err := rw.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(rw, b)
	return err
}

// echoOnce reads len(b) bytes and sends them back.
func echoOnce(rw io.ReadWriter, b []byte) error {
	if _, err := io.ReadFull(rw, b); err != nil {
		return err
	}
	_, err := rw.Write(b)
	return err
}

// listenLoopback opens a UDP socket with large buffers for the contenders that do not bring their own.
func listenLoopback() (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	const buffer = 7 << 20
	_ = c.SetReadBuffer(buffer) // the system may allow less; that is what there is then
	_ = c.SetWriteBuffer(buffer)
	return c, nil
}
