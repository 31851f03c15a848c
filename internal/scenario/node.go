package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/relaymesh"
	"github.com/2xppg/xppg/stunclient"
)

// node is a peer made of the packages below api: it answers STUN, introduces, lets itself be introduced, and punches.
type node struct {
	ep       *kcptransport.Endpoint
	stun     *stunclient.Client
	gatherer *punch.Gatherer
	puncher  *punch.Puncher
	intro    *relaymesh.Introducer

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

type nodeConfig struct {
	seed    uint64 // of its keys and everything else that is random
	timeout time.Duration
	events  func(punch.Event)
	belief  punch.NAT
}

// newNode starts a node at a place.
func newNode(p Place, cfg nodeConfig) (*node, error) {
	random := newRandom(cfg.seed)
	identity, err := kcptransport.NewIdentity(random)
	if err != nil {
		return nil, err
	}
	n := &node{}
	n.ctx, n.stop = context.WithCancel(context.Background())
	local := p.local()
	n.gatherer = punch.NewGatherer(punch.GathererConfig{Local: local, Addrs: p.Addrs})
	nat := n.gatherer.NAT
	if cfg.belief != (punch.NAT{}) {
		nat = func() punch.NAT { return cfg.belief }
	}
	n.puncher = punch.New(punch.Config{Candidates: n.gatherer.Candidates, NAT: nat, Timeout: cfg.timeout, OnEvent: cfg.events})
	n.stun = &stunclient.Client{
		Local: local, Rand: newRandom(cfg.seed + 1),
		Send:     func(b []byte, to netip.AddrPort) error { return n.ep.WriteTo(b, to) },
		OnAnswer: func(r stunclient.Result) { n.gatherer.Reflexive(r.Server, r.Mapped) },
	}
	n.intro = relaymesh.NewIntroducer(relaymesh.IntroducerConfig{Open: n.openIntroduced})
	n.ep, err = kcptransport.Listen(kcptransport.Config{
		Conn: p.socket(), Identity: identity, App: "scenario", Rand: random,
		Candidates: n.gatherer.Candidates, OnSTUN: n.onSTUN,
	})
	if err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *node) onSTUN(b []byte, from netip.AddrPort) {
	if n.stun.Handle(b, from) {
		return
	}
	if answer := stunclient.Respond(b, from); answer != nil {
		_ = n.ep.WriteTo(answer, from) // who asks asks again
	}
}

// openIntroduced is how the introducer reaches the target: by the link it has, or not at all.
func (n *node) openIntroduced(ctx context.Context, target kcptransport.PeerID) (relaymesh.Stream, error) {
	link := n.ep.Link(target)
	if link == nil {
		return nil, relaymesh.ErrUnknownPeer
	}
	return link.OpenStream(ctx, relaymesh.KindIntroduced)
}

// serve takes links and what their peers open on them; onLink gets the links. It returns at once.
func (n *node) serve(onLink func(*kcptransport.Link)) {
	n.wg.Go(func() {
		for {
			link, err := n.ep.Accept(n.ctx)
			if err != nil {
				return
			}
			n.serveStreams(link)
			n.wg.Go(func() { onLink(link) })
		}
	})
}

// serveStreams serves the streams that the peer of a link opens. It returns at once.
func (n *node) serveStreams(link *kcptransport.Link) {
	n.wg.Go(func() {
		for {
			stream, err := link.AcceptStream(n.ctx)
			if err != nil {
				return
			}
			n.wg.Go(func() { n.serveStream(link, stream) })
		}
	})
}

func (n *node) serveStream(link *kcptransport.Link, stream *kcptransport.Stream) {
	switch stream.Kind() {
	case relaymesh.KindIntroduce:
		_ = n.intro.Serve(n.ctx, link.Peer(), stream) // the one who asked was told
	case relaymesh.KindIntroduced:
		channel, _, err := relaymesh.Accept(stream)
		if err == nil {
			_ = n.feed(channel) // its end is normal
		}
	default:
		stream.Reset(1)
	}
}

// feed hands what comes through a channel to the endpoint, until it ends, and returns why it did.
func (n *node) feed(channel *relaymesh.Channel) error {
	hangUp := func() { _ = channel.Close() } // the stream is of no more use in any case
	defer context.AfterFunc(n.ctx, hangUp)()
	defer hangUp()
	for {
		packet, err := channel.Recv()
		if err != nil {
			return err
		}
		n.ep.HandleSignal(packet, channel)
	}
}

// discover asks the servers at all of the addresses for the node's own, in the families that the node has itself.
func (n *node) discover(ctx context.Context, own []netip.Addr, servers ...[]netip.Addr) {
	var all []netip.AddrPort
	for _, addrs := range servers {
		for _, a := range addrs {
			if slices.ContainsFunc(own, func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
				all = append(all, netip.AddrPortFrom(a, port))
			}
		}
	}
	n.stun.Discover(ctx, all)
}

// join opens a link to a peer whose address is known.
func (n *node) join(ctx context.Context, peer kcptransport.PeerID, addr netip.AddrPort) (*kcptransport.Link, error) {
	link, err := n.ep.Dial(ctx, kcptransport.Dial{Peer: peer, Addrs: []netip.AddrPort{addr}})
	if err != nil {
		return nil, err
	}
	if _, err := link.WaitPath(ctx); err != nil {
		return nil, fmt.Errorf("scenario: no path to %s: %w", addr, err)
	}
	n.gatherer.Observe(peer, addr, link.ObservedAddr())
	n.serveStreams(link)
	return link, nil
}

// call opens a link to a peer by way of an introducer. The link has no path yet.
func (n *node) call(ctx context.Context, introducer *kcptransport.Link, target kcptransport.PeerID) (*kcptransport.Link, error) {
	channel, err := introduce(ctx, introducer, target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.wg.Go(func() { cancel(n.feed(channel)) }) // nobody else carries the handshake
	link, err := n.ep.Dial(ctx, kcptransport.Dial{Peer: target, Signal: channel})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return link, err
}

// introduce asks a peer to introduce us to another one.
func introduce(ctx context.Context, introducer *kcptransport.Link, target kcptransport.PeerID) (*relaymesh.Channel, error) {
	return relaymesh.Introduce(ctx, relaymesh.OpenerFunc(func(ctx context.Context, kind string) (relaymesh.Stream, error) {
		return introducer.OpenStream(ctx, kind)
	}), target)
}

// punch looks for a direct path on a link to a peer; both knew of each other at a time.
func (n *node) punch(ctx context.Context, link *kcptransport.Link, knew time.Time) Side {
	_, err := n.puncher.Punch(ctx, link, punch.Options{})
	side := Side{Direct: err == nil, Err: err, After: max(0, time.Since(knew))}
	side.Record, _ = n.puncher.Explain(link.Peer())
	return side
}

// close stops the node and waits for all that it started.
func (n *node) close() error {
	n.stop()
	err := n.ep.Close()
	n.wg.Wait()
	return err
}

// newRandom returns a reproducible source of bytes that goroutines may share.
func newRandom(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return seeded.New(key)
}
