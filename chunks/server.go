package chunks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// ServerConfig limits a Server. The zero value of each field means its default.
type ServerConfig struct {
	MaxStreams        int           // streams served at once, default 128; each may hold one chunk in memory
	MaxStreamsPerPeer int           // default 4
	MaxRequests       int           // requests of one peer that wait for their answer, default 512; beyond, its streams are not read
	IdleTimeout       time.Duration // a stream on which nothing moves for so long is closed, default 2 minutes
}

func (c ServerConfig) withDefaults() ServerConfig {
	setDefault(&c.MaxStreams, 128)
	setDefault(&c.MaxStreamsPerPeer, 4)
	setDefault(&c.MaxRequests, 512)
	setDefault(&c.IdleTimeout, 2*time.Minute)
	return c
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// ServerStats counts since the Server was made.
type ServerStats struct {
	Streams  int   // being served now
	Requests int64 // answered, whatever the answer
	Chunks   int64 // chunks sent
	Bytes    int64 // bytes of these chunks
	Changed  int64 // chunks not sent because the file changed after it was shared
	Failed   int64 // chunks not sent because reading failed
	Refused  int64 // streams refused for a limit, or ended because the peer broke the protocol
}

// Server hands out chunks of what was added, whole or still being fetched, to anyone who knows its Root.
// Goroutines may share it.
type Server struct {
	cfg ServerConfig

	mu       sync.Mutex
	contents map[Root]*Content
	peers    map[kcptransport.PeerID]*servedPeer // peers with at least one stream
	streams  int
	closed   bool
	cancel   map[*serving]context.CancelFunc
	wg       sync.WaitGroup

	requests, chunks, bytes, changed, failed, refused atomic.Int64
}

// servedPeer is shared by the streams of one peer.
type servedPeer struct {
	streams int
	slots   chan struct{} // one for each request that waits
}

// ErrServerClosed is returned by ServeStream once Close was called.
var ErrServerClosed = errors.New("chunks: the server is closed")

// NewServer makes a Server that holds nothing yet.
func NewServer(cfg ServerConfig) *Server {
	return &Server{
		cfg:      cfg.withDefaults(),
		contents: make(map[Root]*Content),
		peers:    make(map[kcptransport.PeerID]*servedPeer),
		cancel:   make(map[*serving]context.CancelFunc),
	}
}

// Add serves c from now on, in place of another Content of the same Root.
func (s *Server) Add(c *Content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contents[c.root] = c
}

// Remove stops serving what root names; answers under way are finished.
func (s *Server) Remove(root Root) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.contents, root)
}

// Content returns what is served under root, or nil.
func (s *Server) Content(root Root) *Content {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contents[root]
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	streams := s.streams
	s.mu.Unlock()
	return ServerStats{
		Streams: streams, Requests: s.requests.Load(), Chunks: s.chunks.Load(), Bytes: s.bytes.Load(),
		Changed: s.changed.Load(), Failed: s.failed.Load(), Refused: s.refused.Load(),
	}
}

// Close ends all streams and waits until they are done with.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancel {
		cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// ServeStream answers the requests on a stream of StreamKind that peer opened, until the peer is done (nil), ctx ends,
// or something fails. It closes the stream.
func (s *Server) ServeStream(ctx context.Context, peer kcptransport.PeerID, stream Stream) error {
	defer stream.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &serving{server: s, stream: stream, idle: s.cfg.IdleTimeout}
	if err := s.enter(v, peer, cancel); err != nil {
		return err
	}
	defer s.leave(v, peer)
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	err := v.run(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return s.endedBy(ctx)
	case errors.Is(err, errWire):
		s.refused.Add(1)
	}
	return fmt.Errorf("chunks: serving %s: %w", peer.Short(), err)
}

// endedBy tells an end by Close from one by the caller.
func (s *Server) endedBy(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	return ctx.Err()
}

func (s *Server) enter(v *serving, peer kcptransport.PeerID, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	p := s.peers[peer]
	if s.streams >= s.cfg.MaxStreams || p != nil && p.streams >= s.cfg.MaxStreamsPerPeer {
		s.refused.Add(1)
		return fmt.Errorf("chunks: serving %s: too many streams (%d in all)", peer.Short(), s.streams)
	}
	if p == nil {
		p = &servedPeer{slots: make(chan struct{}, s.cfg.MaxRequests)}
		s.peers[peer] = p
	}
	p.streams++
	s.streams++
	s.wg.Add(1)
	v.slots = p.slots
	s.cancel[v] = cancel
	return nil
}

func (s *Server) leave(v *serving, peer kcptransport.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cancel, v)
	s.streams--
	if p := s.peers[peer]; p.streams > 1 {
		p.streams--
	} else {
		delete(s.peers, peer)
	}
	s.wg.Done()
}
