package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lukechampine.com/blake3"

	"github.com/2xppg/xppg/chunks"
	"github.com/2xppg/xppg/kcptransport"
)

const (
	kindHave   = "xppg/have"     // request: do you have the content whose root hashes to this?
	askEvery   = 5 * time.Second // how often peers are asked for what we fetch
	askTimeout = 5 * time.Second
)

// files is the part of a playground that shares and fetches files.
type files struct {
	server *chunks.Server

	mu     sync.Mutex
	shared map[[32]byte]bool // hashes of the roots we serve
}

func newFiles() *files {
	return &files{server: chunks.NewServer(chunks.ServerConfig{}), shared: map[[32]byte]bool{}}
}

func (f *files) close() error { return f.server.Close() }

// Shared describes content that this node serves.
type Shared struct {
	Ticket  Ticket      // for Fetch
	Root    chunks.Root // names the content
	Bytes   int64
	Chunks  int
	Skipped []string // left out: symbolic links, devices and the like
}

// Share makes files and folders available to whoever gets the ticket. Nothing
// is copied: they are served from where they are until the playground closes,
// and each chunk is checked again before it is sent.
func (pg *Playground) Share(ctx context.Context, paths ...string) (Shared, error) {
	c, err := chunks.Add(ctx, chunks.AddConfig{Paths: paths, SkipSpecial: true})
	if err != nil {
		return Shared{}, err
	}
	pg.files.serve(c)
	root := c.Root()
	t := pg.Ticket()
	t.Root = root[:]
	m := c.Manifest()
	return Shared{Ticket: t, Root: root, Bytes: m.Size(), Chunks: m.Chunks(), Skipped: c.Skipped()}, nil
}

// ShareFile shares one file and returns its ticket as text.
func (pg *Playground) ShareFile(ctx context.Context, path string) (string, error) {
	s, err := pg.Share(ctx, path)
	if err != nil {
		return "", err
	}
	return s.Ticket.String(), nil
}

func (f *files) serve(c *chunks.Content) {
	f.server.Add(c)
	f.offer(c.Root())
}

// offer makes us answer that we have content, or at least chunks of it.
func (f *files) offer(root chunks.Root) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shared[hashRoot(root)] = true
}

// hashRoot lets peers ask each other for content without telling its root to
// those who do not know it.
func hashRoot(root chunks.Root) [32]byte {
	return blake3.Sum256(append([]byte("xppg have v1\x00"), root[:]...))
}

// answerHave answers a peer that looks for sources.
func (f *files) answerHave(m *Message) error {
	var hash []byte
	if err := m.Decode(&hash); err != nil || len(hash) != 32 {
		return m.ReplyError(errors.New("a hash of 32 bytes is wanted"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return m.Reply(f.shared[[32]byte(hash)])
}

// FetchOptions tune a download; the zero value will do.
type FetchOptions struct {
	Overwrite bool                  // replace what is there
	Progress  func(chunks.Progress) // told from time to time, serially; must not block
}

// Fetch downloads what a ticket names into a folder, from the peer of the
// ticket and from every connected peer that has it, too. What was fetched
// before, also by a process that was killed, is kept; files get their names
// only when they are whole, and while it runs and afterwards this node serves
// what it has.
func (pg *Playground) Fetch(ctx context.Context, ticket, dir string, o FetchOptions) (*chunks.Result, error) {
	t, err := ParseTicket(ticket)
	if err != nil {
		return &chunks.Result{}, err
	}
	if len(t.Root) != 32 {
		return &chunks.Result{}, errors.New("api: this ticket names a peer but no content (use the one that share printed)")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &sources{pg: pg, ticket: t, root: chunks.Root(t.Root)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if err := src.join(ctx); err != nil {
		return &chunks.Result{}, err
	}
	pg.files.offer(src.root)
	wg.Go(func() { src.run(ctx) })
	return chunks.Fetch(ctx, chunks.FetchConfig{
		Root:      src.root,
		Dir:       dir,
		Overwrite: o.Overwrite,
		Progress:  o.Progress,
		Sources:   src.list,
		Opener:    chunks.OpenerFunc(pg.openChunks),
		Server:    pg.files.server,
		Rand:      pg.cfg.Rand,
	})
}

func (pg *Playground) openChunks(ctx context.Context, id kcptransport.PeerID, kind string) (chunks.Stream, error) {
	p, err := pg.peer(id)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, kind)
}

// sources keeps the list of peers that have the content of a ticket.
type sources struct {
	pg     *Playground
	ticket Ticket
	root   chunks.Root

	mu    sync.Mutex
	peers []kcptransport.PeerID
}

func (s *sources) list() []kcptransport.PeerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers)
}

func (s *sources) set(id kcptransport.PeerID, has bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.peers, id)
	switch {
	case has && i < 0:
		s.peers = append(s.peers, id)
	case !has && i >= 0:
		s.peers = slices.Delete(s.peers, i, i+1)
	}
}

// join connects to the ticket's peer, unless others have the content.
func (s *sources) join(ctx context.Context) error {
	jctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	_, err := s.pg.reach(jctx, s.ticket)
	s.ask(ctx)
	if len(s.list()) > 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("api: fetch: %w", err)
	}
	return nil // it is connected and may have it soon
}

// run asks again and again, so that peers may come and go.
func (s *sources) run(ctx context.Context) {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if _, err := s.pg.peer(s.ticket.Peer); errors.Is(err, ErrNotConnected) {
			jctx, cancel := context.WithTimeout(ctx, joinTimeout)
			_, _ = s.pg.reach(jctx, s.ticket) // asked again in a moment
			cancel()
		}
		s.ask(ctx)
	}
}

// ask asks every connected peer at the same time.
func (s *sources) ask(fetch context.Context) {
	ctx, cancel := context.WithTimeout(fetch, askTimeout)
	defer cancel()
	hash := hashRoot(s.root)
	connected := map[kcptransport.PeerID]bool{}
	var wg sync.WaitGroup
	for _, p := range s.pg.readyPeers() {
		connected[p.id] = true
		wg.Go(func() {
			var has bool
			err := s.pg.request(ctx, p.id, kindHave, hash[:], &has)
			if fetch.Err() == nil { // else it was not given the time to answer, and what is known of it is yet to be told
				s.set(p.id, err == nil && has)
			}
		})
	}
	wg.Wait()
	for _, id := range s.list() {
		if !connected[id] {
			s.set(id, false)
		}
	}
}
