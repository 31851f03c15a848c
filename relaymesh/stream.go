package relaymesh

import (
	"context"
	"io"
	"time"
)

// The kinds of streams on which introduction runs.
const (
	KindIntroduce  = "xppg/introduce"  // opened by who wants to be introduced
	KindIntroduced = "xppg/introduced" // opened by the introducer to the one asked for
)

// Stream is what this package needs of a stream. A *kcptransport.Stream satisfies it.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(t time.Time) error
	Kind() string
}

// Opener opens a stream of a kind to one peer, the introducer.
type Opener interface {
	OpenStream(ctx context.Context, kind string) (Stream, error)
}

// OpenerFunc is a function that is an [Opener].
type OpenerFunc func(ctx context.Context, kind string) (Stream, error)

// OpenStream calls f.
func (f OpenerFunc) OpenStream(ctx context.Context, kind string) (Stream, error) { return f(ctx, kind) }

// interruptOn makes pending and later reads and writes of the streams fail once ctx ends. The caller calls stop when
// it no longer wants that.
func interruptOn(ctx context.Context, streams ...Stream) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		for _, s := range streams {
			_ = s.SetDeadline(time.Unix(1, 0)) // fails only on a stream that is closed, which is as good
		}
	})
}
