package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	syncTimeout = 30 * time.Second // without progress
	retryFirst  = 2 * time.Second  // after a failure, doubled each time
	retryMost   = time.Minute
	maxMaps     = 64

	compareEvery = 5 * time.Minute // maps are compared again, whatever was sent
)

// Stream is what this package needs of a stream. A *kcptransport.Stream is one.
type Stream interface {
	io.Reader
	io.Writer
	io.Closer
	CloseWrite() error
	SetDeadline(time.Time) error
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

// ServiceConfig says who a Service is and how it reaches peers. Both are required.
type ServiceConfig struct {
	Identity *kcptransport.Identity
	Opener   Opener

	// OnError is told what went wrong with a peer in the background. Optional; it
	// must not block.
	OnError func(peer kcptransport.PeerID, err error)
}

// A Service keeps the maps of one node in step with those of its peers. Its
// methods may be called from any goroutine.
type Service struct {
	cfg    ServiceConfig
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	maps   map[string]*Map
	peers  map[kcptransport.PeerID]*replica
	closed bool
}

// NewService returns a service without maps and peers. It must be closed.
func NewService(cfg ServiceConfig) *Service {
	s := &Service{cfg: cfg, maps: map[string]*Map{}, peers: map[kcptransport.PeerID]*replica{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Open adds a map and brings it in step with the attached peers.
func (s *Service) Open(cfg Config) (*Map, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.maps[cfg.Name] != nil:
		return nil, fmt.Errorf("state: map %q is open already", cfg.Name)
	case len(s.maps) >= maxMaps:
		return nil, fmt.Errorf("state: %d maps are open, at most %d are allowed", len(s.maps), maxMaps)
	}
	var m *Map
	m, err := newMap(cfg, s.cfg.Identity, time.Now(), func(keys []string, from *kcptransport.PeerID) { s.spread(m, keys, from) })
	if err != nil {
		return nil, err
	}
	s.maps[cfg.Name] = m
	for _, r := range s.peers {
		r.resync(cfg.Name)
	}
	return m, nil
}

// Attach begins to keep a peer in step: it exchanges what differs, then sends
// changes as they happen, until Detach.
func (s *Service) Attach(peer kcptransport.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.peers[peer] != nil {
		return
	}
	r := newReplica(s, peer)
	s.peers[peer] = r
	for name := range s.maps {
		r.resync(name)
	}
	s.wg.Go(r.run)
}

// Detach ends what Attach began.
func (s *Service) Detach(peer kcptransport.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.peers[peer]; r != nil {
		r.cancel()
		delete(s.peers, peer)
	}
}

// Close ends all replication and closes the maps, but not their stores.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	open := make([]*Map, 0, len(s.maps))
	for _, m := range s.maps {
		open = append(open, m)
	}
	s.mu.Unlock()
	for _, m := range open {
		m.close()
	}
	s.cancel()
	s.wg.Wait()
	return nil
}

// spread marks keys to be sent to every attached peer but the one they came from.
func (s *Service) spread(m *Map, keys []string, from *kcptransport.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.peers {
		if from == nil || id != *from {
			r.changed(m.cfg.Name, keys)
		}
	}
}

func (s *Service) mapNamed(name string) *Map {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maps[name]
}

func (s *Service) report(peer kcptransport.PeerID, err error) {
	if err != nil && s.cfg.OnError != nil && s.ctx.Err() == nil {
		s.cfg.OnError(peer, err)
	}
}

// Push sends a peer what it lacks of a map, and returns when it has it.
func (s *Service) Push(ctx context.Context, name string, peer kcptransport.PeerID) error {
	return s.sync(ctx, peer, helloFrame{Map: name, Push: true})
}

// Request fetches from a peer what we lack of a map.
func (s *Service) Request(ctx context.Context, name string, peer kcptransport.PeerID) error {
	return s.sync(ctx, peer, helloFrame{Map: name, Pull: true})
}

// open opens a stream and says hello. The stream dies with ctx.
func (s *Service) open(ctx context.Context, peer kcptransport.PeerID, hello helloFrame) (st *patientStream, status statusFrame, done func(), err error) {
	raw, err := s.cfg.Opener.OpenStream(ctx, peer, StreamKind)
	if err != nil {
		return nil, status, nil, err
	}
	st = &patientStream{Stream: raw}
	stop := st.endWith(ctx)
	done = func() { stop(); st.Close() }
	st.goOn()
	if err = writeFrame(st, hello); err == nil {
		err = readFrame(st, &status)
	}
	if err == nil && status.Refused != "" {
		err = &RefusedError{Peer: peer, Map: hello.Map, Reason: status.Refused}
	}
	if err != nil {
		done()
		return nil, status, nil, err
	}
	return st, status, done, nil
}

// sync is the opener's side of an exchange.
func (s *Service) sync(ctx context.Context, peer kcptransport.PeerID, hello helloFrame) (err error) {
	defer func() {
		var refused *RefusedError
		if err != nil && !errors.As(err, &refused) {
			err = fmt.Errorf("state: bring map %q in step with %s: %w", hello.Map, peer.Short(), errors.Join(err, ctx.Err()))
		}
	}()
	m := s.mapNamed(hello.Map)
	if m == nil {
		return errors.New("there is no such map here")
	}
	m.forgetOld(time.Now())
	hello.Hashes = m.hashes()
	st, status, done, err := s.open(ctx, peer, hello)
	if err != nil {
		return err
	}
	defer done()
	if len(status.Differ) != buckets/8 {
		return errors.New("malformed status")
	}
	if hello.Pull {
		if err := s.takeIn(st, m, peer); err != nil {
			return err
		}
	}
	if !hello.Push {
		return nil
	}
	if err := s.giveOut(st, m, status.Differ); err != nil {
		return err
	}
	var end entriesFrame
	if err := readFrame(st, &end); err != nil {
		return fmt.Errorf("waiting for %s to take it in: %w", peer.Short(), err)
	}
	return nil
}

// takeIn applies entries until the other side says that these were all. What is
// refused is reported and does not stop the others.
func (s *Service) takeIn(st *patientStream, m *Map, peer kcptransport.PeerID) error {
	for {
		st.goOn()
		entries, end, err := readEntries(st, m.cfg.Name)
		if err != nil {
			return err
		}
		if err := m.apply(entries, peer, time.Now()); errors.Is(err, ErrClosed) {
			return err
		} else if err != nil {
			s.report(peer, err)
		}
		if end {
			return nil
		}
	}
}

func (s *Service) giveOut(st *patientStream, m *Map, bits []byte) error {
	return writeEntries(st, m.entries(inBuckets(bits)), true)
}

// ServeStream serves a stream of kind StreamKind that a peer opened, and closes
// it. It returns when the stream or ctx ends.
func (s *Service) ServeStream(ctx context.Context, peer kcptransport.PeerID, stream Stream) error {
	st := &patientStream{Stream: stream}
	defer st.Close()
	defer st.endWith(ctx)()
	defer st.endWith(s.ctx)()
	st.goOn()
	var hello helloFrame
	if err := readFrame(st, &hello); err != nil {
		return err
	}
	m := s.mapNamed(hello.Map)
	if m == nil {
		return writeFrame(st, statusFrame{Refused: "there is no such map here"})
	}
	s.present(peer, hello.Map)
	if hello.Live {
		return s.serveLive(st, m, peer)
	}
	m.forgetOld(time.Now())
	bits, err := differ(m.hashes(), hello.Hashes)
	if err != nil {
		return err
	}
	if err := writeFrame(st, statusFrame{Differ: bits}); err != nil {
		return err
	}
	if hello.Pull {
		if err := s.giveOut(st, m, bits); err != nil {
			return err
		}
	}
	if hello.Push {
		if err := s.takeIn(st, m, peer); err != nil {
			return err
		}
		return writeFrame(st, entriesFrame{End: true})
	}
	return nil
}

// serveLive takes in changes until the stream ends.
func (s *Service) serveLive(st *patientStream, m *Map, peer kcptransport.PeerID) error {
	if err := writeFrame(st, statusFrame{}); err != nil {
		return err
	}
	st.until(time.Time{})
	for {
		entries, _, err := readEntries(st, m.cfg.Name)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.apply(entries, peer, time.Now()); errors.Is(err, ErrClosed) {
			return err
		} else if err != nil {
			s.report(peer, err)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
