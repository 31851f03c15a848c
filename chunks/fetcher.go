package chunks

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	haveEvery  = 500 * time.Millisecond // how often a source that is still fetching is asked what is new
	firstRetry = time.Second            // pause before a source that failed is tried again; doubles
	lastRetry  = 30 * time.Second
	minWindow  = 2               // chunks asked of the slowest source
	startBytes = 2 << 20         // asked of a source of unknown speed: 100 Mbit/s for 160 ms
	minCost    = 8 << 10         // a request counts at least this much of the window
	someone    = 2               // sources asked for the manifest at once
	patience   = 3 * time.Second // with these, before one more is asked
	maxReasons = 5               // sources named when none was of use
)

// fetcher is one Fetch. Its loop owns everything here; conns tell it events.
type fetcher struct {
	cfg     FetchConfig
	dir     *os.Root
	result  *Result
	random  *rand.Rand
	started time.Time

	events   chan event
	received atomic.Int64 // useful bytes from sources
	wg       sync.WaitGroup

	job     *job // nil until the manifest is known
	sources map[kcptransport.PeerID]*source
	order   []*source // the same, best first
	noticed int64     // of received
	useful  time.Time // when something useful came last
	polled  time.Time // when Sources was called last
	asking  int       // sources that were asked for the manifest
	lastAsk time.Time

	reported time.Time
	meter    meter
	counted  int64 // of received, by meter
}

// source is a peer that was named by Sources, in whatever state.
type source struct {
	id     kcptransport.PeerID
	listed bool
	banned bool
	why    error // it was of no use, last time
	lacks  bool  // why is that it refused a chunk, and it was not asked for that one again

	conn    *conn // nil: no stream
	cancel  context.CancelFunc
	up      bool // the stream is open
	retry   time.Time
	pause   time.Duration
	nextID  uint32
	pending int  // requests
	asked   bool // for the manifest

	sup      *supplier
	seq      uint32
	haveAt   time.Time // when to ask again what it has
	haveSent bool
}

func newFetcher(cfg FetchConfig, now time.Time) *fetcher {
	return &fetcher{
		cfg: cfg, started: now, useful: now,
		result:  &Result{From: make(map[kcptransport.PeerID]int64)},
		events:  make(chan event, 64),
		sources: make(map[kcptransport.PeerID]*source),
	}
}

func (f *fetcher) rng() error {
	var seed [16]byte
	if _, err := io.ReadFull(f.cfg.Rand, seed[:]); err != nil {
		return fmt.Errorf("reading random numbers: %w", err)
	}
	f.random = rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:])))
	return nil
}

// loop runs until every chunk is here.
func (f *fetcher) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.wg.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if f.complete() {
			return nil
		}
		now := time.Now()
		f.poll(now)
		f.connect(ctx, now)
		f.askAll(now)
		f.report(now, f.stage(), false)
		if err := f.hopeless(now); err != nil {
			return err
		}
		timer.Reset(f.next(now).Sub(now))
		select {
		case <-ctx.Done():
			if why := f.reasons(); why != "" {
				return fmt.Errorf("%w: %s", ctx.Err(), why)
			}
			return ctx.Err()
		case e := <-f.events:
			if err := f.handle(ctx, e); err != nil {
				return err
			}
		case _, ok := <-f.cfg.Changed:
			f.polled = time.Time{}
			if !ok {
				f.cfg.Changed = nil
			}
		case <-timer.C:
		}
	}
}

func (f *fetcher) complete() bool { return f.job != nil && f.job.picker.left == 0 }

func (f *fetcher) stage() Stage {
	if f.job == nil {
		return StageManifest
	}
	return StageFetching
}

// next returns when the loop must look again even if nothing happens.
func (f *fetcher) next(now time.Time) time.Time {
	at := f.polled.Add(f.cfg.SourcesEvery)
	if f.cfg.GiveUpAfter > 0 {
		at = earlier(at, f.useful.Add(f.cfg.GiveUpAfter))
	}
	if f.cfg.Progress != nil && f.job != nil {
		at = earlier(at, f.reported.Add(f.cfg.ProgressEvery))
	}
	for _, s := range f.order {
		switch {
		case s.conn == nil && s.listed && !s.banned:
			at = earlier(at, s.retry)
		case s.up && f.job != nil && !s.haveSent && !s.haveAt.IsZero():
			at = earlier(at, s.haveAt)
		}
	}
	return later(at, now.Add(time.Millisecond)) // whatever is overdue here waits for something else
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// hopeless ends a fetch to which nobody contributes.
func (f *fetcher) hopeless(now time.Time) error {
	if received := f.received.Load(); received != f.noticed {
		f.noticed, f.useful = received, now
	}
	if f.cfg.GiveUpAfter <= 0 || now.Sub(f.useful) < f.cfg.GiveUpAfter {
		return nil
	}
	why := f.reasons()
	if why == "" {
		why = "nobody who may have it is connected"
	}
	return fmt.Errorf("%w for %v: %s", ErrNoSource, f.cfg.GiveUpAfter, why)
}

// reasons tells why sources were of no use, "" when nothing is known of that.
func (f *fetcher) reasons() string {
	var why []string
	for _, s := range f.order {
		if s.why != nil && len(why) < maxReasons {
			why = append(why, fmt.Sprintf("%s: %v", s.id.Short(), s.why))
		}
	}
	return strings.Join(why, "; ")
}

// poll asks which peers may be sources now.
func (f *fetcher) poll(now time.Time) {
	if now.Sub(f.polled) < f.cfg.SourcesEvery {
		return
	}
	f.polled = now
	for _, s := range f.sources {
		s.listed = false
	}
	f.order = f.order[:0]
	for _, id := range f.cfg.Sources() {
		s := f.sources[id]
		if s == nil {
			s = &source{id: id, sup: newSupplier()}
			f.sources[id] = s
		}
		if !s.listed {
			s.listed = true
			f.order = append(f.order, s)
		}
	}
	for id, s := range f.sources {
		switch {
		case s.listed:
		case s.conn != nil || s.banned:
			f.order = append(f.order, s)
		default:
			delete(f.sources, id)
		}
	}
}

// connect opens streams to sources that have none, as far as MaxPeers goes.
func (f *fetcher) connect(ctx context.Context, now time.Time) {
	conns := 0
	for _, s := range f.sources {
		if s.conn != nil {
			conns++
		}
	}
	for _, s := range f.order {
		if conns >= f.cfg.MaxPeers {
			return
		}
		if s.conn != nil || s.banned || !s.listed || now.Before(s.retry) {
			continue
		}
		conns++
		f.open(ctx, s)
	}
}

func (f *fetcher) open(ctx context.Context, s *source) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.conn = &conn{
		peer: s.id, root: f.cfg.Root, opener: f.cfg.Opener, stall: f.cfg.StallTimeout,
		out: make(chan ask, maxAsked), events: f.events, received: &f.received,
		pending: make(map[uint32]ask),
	}
	c := s.conn
	f.wg.Go(func() { c.run(ctx) })
}

// askAll gives every source as much to do as its window allows, one chunk at a time in turns.
func (f *fetcher) askAll(now time.Time) {
	for _, s := range f.order {
		switch {
		case !s.up:
		case f.job == nil:
			f.askManifest(now, s)
		case !s.haveSent && !now.Before(s.haveAt):
			s.haveSent = true
			f.send(s, ask{request: request{Op: opHave, Since: s.seq}, job: f.job})
		}
	}
	for asked := f.job != nil; asked; {
		asked = false
		for _, s := range f.order {
			asked = f.askChunk(now, s) || asked
		}
	}
}

// askChunk asks a source for one more chunk, if there is one and its window allows it.
func (f *fetcher) askChunk(now time.Time, s *source) bool {
	if !s.up || s.pending >= maxAsked-1 || cost(s.sup) >= f.window(s.sup) {
		return false
	}
	chunk := f.job.picker.next(now, s.sup)
	if chunk < 0 {
		return false
	}
	f.send(s, ask{request: request{Op: opChunk, Chunk: uint32(chunk)}, job: f.job})
	return true
}

// askManifest asks a few sources, and one more whenever those take their time: so nobody can hold up the beginning.
func (f *fetcher) askManifest(now time.Time, s *source) {
	if !s.asked && (f.asking < someone || now.Sub(f.lastAsk) >= patience) {
		s.asked = true
		f.asking++
		f.lastAsk = now
		f.send(s, ask{request: request{Op: opManifest}})
	}
}

// cost is how much of its window a source's requests take.
func cost(s *supplier) int { return max(s.bytes, len(s.asked)*minCost) }

// window returns how much may be asked of a source: what it delivers in a second, which fills every path with a round
// trip below that.
func (f *fetcher) window(s *supplier) int {
	want := startBytes
	if rate := s.speed.rate(); rate > 0 {
		want = int(min(rate, float64(f.cfg.Window)))
	}
	return min(max(want, minWindow*f.job.content.manifest.ChunkSize), f.cfg.Window)
}

func (f *fetcher) send(s *source, a ask) {
	s.nextID++
	s.pending++
	a.ID, a.Root = s.nextID, f.cfg.Root[:]
	s.conn.out <- a // has room: pending is below its capacity
}
