package api

import (
	"context"

	"github.com/2xppg/xppg/chunks"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// priorityOf returns how urgent the streams of a kind are, in both directions:
// messages and introductions before an application's own streams, files after
// them.
func priorityOf(kind string) kcptransport.Priority {
	switch kind {
	case kindMessages, relaymesh.KindIntroduce, relaymesh.KindIntroduced, relaymesh.KindCircuit, relaymesh.KindRelayed, relaymesh.KindReserve:
		return kcptransport.PriorityInteractive
	case chunks.StreamKind, kindBench:
		return kcptransport.PriorityBulk
	}
	return kcptransport.PriorityNormal
}

// opener is p.open for package relaymesh.
func (p *peer) opener() relaymesh.Opener {
	return relaymesh.OpenerFunc(func(ctx context.Context, kind string) (relaymesh.Stream, error) { return p.open(ctx, kind) })
}

// open opens a stream with the priority of its kind.
func (p *peer) open(ctx context.Context, kind string) (*kcptransport.Stream, error) {
	s, err := p.link.OpenStream(ctx, kind)
	if err == nil {
		s.SetPriority(priorityOf(kind))
	}
	return s, err
}
