package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/2xppg/xppg/chunks"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
	"github.com/2xppg/xppg/state"
)

// OpenStream opens a stream of an application's own kind to a connected peer:
// ordered, reliable, independent of every other stream. The other side's
// handler is set with [Playground.OnStream].
func (pg *Playground) OpenStream(ctx context.Context, to kcptransport.PeerID, kind string) (*kcptransport.Stream, error) {
	if err := checkKind(kind); err != nil {
		return nil, err
	}
	p, err := pg.peer(to)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, kind)
}

// OnStream sets the handler for streams of a kind that peers open; nil removes
// it. Each stream is handled in a goroutine of its own and closed when the
// handler returns, at the latest when the link ends. Streams of kinds without a handler are reset.
func (pg *Playground) OnStream(kind string, h func(from kcptransport.PeerID, s *kcptransport.Stream)) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if h == nil {
		delete(pg.streams, kind)
		return
	}
	pg.streams[kind] = h
}

// serveStream serves a stream that a peer opened and that carries neither
// messages nor peer records.
func (pg *Playground) serveStream(ctx context.Context, p *peer, s *kcptransport.Stream) error {
	switch kind := s.Kind(); kind {
	case relaymesh.KindIntroduce:
		return pg.intro.Serve(ctx, p.id, s)
	case relaymesh.KindIntroduced:
		return pg.serveIntroduced(ctx, s)
	case relaymesh.KindCircuit:
		p.waitReady(ctx)                         // it may be a moment ahead of us
		if pg.Relaying() || pg.draining.Load() { // then it refuses, and says why
			return pg.relay.Serve(ctx, p.id, s)
		}
	case relaymesh.KindReserve:
		p.waitReady(ctx)
		if pg.Relaying() || pg.draining.Load() {
			return pg.relay.ServeReserve(ctx, p.id, s)
		}
	case relaymesh.KindRelayed:
		return pg.serveRelayed(ctx, p, s)
	case chunks.StreamKind:
		return pg.files.server.ServeStream(ctx, p.id, s)
	case state.StreamKind:
		return pg.states.serve(ctx, p.id, s)
	case kindBench:
		if pg.cfg.AllowBench {
			return p.serveBench(s)
		}
	default:
		pg.mu.Lock()
		h := pg.streams[kind]
		pg.mu.Unlock()
		if h != nil && !strings.HasPrefix(kind, reservedPrefix) {
			pg.handleStream(ctx, p, s, h)
			return nil
		}
	}
	s.Reset(codeUnknownKind)
	return nil
}

// handlerGrace is how long the end of a link waits for a handler of a stream,
// which sees its stream reset.
const handlerGrace = 500 * time.Millisecond

// handleStream runs a handler of the application. It returns before the handler
// does when the link has ended and the handler takes no notice of that.
func (pg *Playground) handleStream(ctx context.Context, p *peer, s *kcptransport.Stream, h func(kcptransport.PeerID, *kcptransport.Stream)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if v := guard(func() { h(p.id, s) }); v != nil {
			s.Reset(codeProtocol)
			pg.note(p.id, fmt.Errorf("api: handler of streams %q panicked: %v", s.Kind(), v))
		}
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	grace := time.NewTimer(handlerGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
}

// serveIntroduced feeds the packets of somebody who wants to meet us to the
// endpoint, which answers the same way.
func (pg *Playground) serveIntroduced(ctx context.Context, s *kcptransport.Stream) error {
	ch, _, err := relaymesh.Accept(s)
	if err != nil {
		return err
	}
	defer ch.Close()
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	for {
		packet, err := ch.Recv()
		if err != nil {
			return nil
		}
		pg.ep.HandleSignal(packet, ch)
	}
}

// take answers messages of the playground's own kinds.
func (pg *Playground) takeInternal(m *Message) error {
	if m.Kind == kindHave && m.reply != nil {
		return pg.files.answerHave(m)
	}
	if m.Kind == kindDialBack && m.reply != nil {
		return pg.answerDialBack(m)
	}
	if m.Kind == kindLoad && m.reply != nil {
		return pg.answerLoad(m)
	}
	if m.Kind == kindKnock && m.reply != nil {
		return pg.answerKnock(m)
	}
	if m.reply != nil {
		return m.ReplyError(errors.New("unknown kind"))
	}
	return nil
}
