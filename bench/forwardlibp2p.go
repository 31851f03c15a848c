package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
)

const libp2pProtocol = "/bench/1"

// relayLibp2p is a circuit relay v2 without limits, on TCP.
func relayLibp2p(_ context.Context, in *bufio.Reader, out io.Writer) error {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.ForceReachabilityPublic(),
		libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	r, err := relay.New(h, relay.WithInfiniteLimits())
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	fmt.Fprintf(out, "%s/p2p/%s\n", h.Addrs()[0], h.ID())
	waitEOF(in)
	return nil
}

// forwardLibp2p writes one stream from one host to another by way of the relay. A packet is as many bytes of it.
func forwardLibp2p(ctx context.Context, _ load) (*flow, error) {
	f, err := startFlow("libp2p")
	if err != nil {
		return nil, err
	}
	line, err := f.relay.line()
	if err != nil {
		return f.fail(err)
	}
	via, err := peer.AddrInfoFromString(line)
	if err != nil {
		return f.fail(err)
	}
	a, err := f.libp2pHost(ctx, via)
	if err != nil {
		return f.fail(err)
	}
	b, err := f.libp2pHost(ctx, via)
	if err != nil {
		return f.fail(err)
	}
	var reading sync.WaitGroup
	b.SetStreamHandler(libp2pProtocol, func(s network.Stream) { f.countStream(&reading, s) })
	if _, err = client.Reserve(ctx, b, *via); err != nil {
		return f.fail(err)
	}
	target, err := multiaddr.NewMultiaddr(line + "/p2p-circuit")
	if err != nil {
		return f.fail(err)
	}
	if err = a.Connect(ctx, peer.AddrInfo{ID: b.ID(), Addrs: []multiaddr.Multiaddr{target}}); err != nil {
		return f.fail(err)
	}
	s, err := a.NewStream(network.WithAllowLimitedConn(ctx, "bench"), b.ID(), libp2pProtocol)
	if err != nil {
		return f.fail(err)
	}
	f.onClose(s.Reset)
	buf := make([]byte, chunk)
	f.push = func(int) error {
		_, err := s.Write(buf)
		return err
	}
	return f, nil
}

// libp2pHost makes a host that is connected to the relay.
func (f *flow) libp2pHost(ctx context.Context, via *peer.AddrInfo) (host.Host, error) {
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		return nil, err
	}
	f.onClose(h.Close)
	return h, h.Connect(ctx, *via)
}

func (f *flow) countStream(reading *sync.WaitGroup, s network.Stream) {
	reading.Add(1)
	defer reading.Done()
	buf := make([]byte, chunk)
	for {
		n, err := s.Read(buf)
		f.got.Add(int64(n))
		if err != nil {
			_ = s.Reset()
			return
		}
	}
}
