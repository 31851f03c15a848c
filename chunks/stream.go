package chunks

import (
	"context"
	"io"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// StreamKind is the kind of the streams that this package opens and serves.
const StreamKind = "xppg/chunks"

// Stream is what this package needs of a stream to a peer. *kcptransport.Stream satisfies it. SetDeadline and Close may
// be called while another goroutine reads or writes; Close ends both.
type Stream interface {
	io.Reader
	io.Writer
	io.Closer
	CloseWrite() error
	SetDeadline(t time.Time) error
}

// Opener opens streams to peers. Goroutines may share it.
type Opener interface {
	OpenStream(ctx context.Context, peer kcptransport.PeerID, kind string) (Stream, error)
}

// OpenerFunc is a function that is an Opener.
type OpenerFunc func(ctx context.Context, peer kcptransport.PeerID, kind string) (Stream, error)

// OpenStream calls f.
func (f OpenerFunc) OpenStream(ctx context.Context, peer kcptransport.PeerID, kind string) (Stream, error) {
	return f(ctx, peer, kind)
}
