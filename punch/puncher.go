package punch

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Link is what punching needs of a link. A *kcptransport.Link satisfies it.
type Link interface {
	Peer() kcptransport.PeerID
	Initiator() bool
	SignalRTT() time.Duration // round trip over the introducer; 0 on the side that answered
	ObservedAddr() netip.AddrPort
	RemoteCandidates() []kcptransport.Candidate
	// Probe sends one authenticated probe; ttl 0 is the system's.
	Probe(p kcptransport.Path, ttl int)
	// Paths returns the paths the link knows of, those among them that only came up by packets from there.
	Paths() []kcptransport.PathInfo
	// OnPath calls f with the path in use, now and whenever it changes, until stop.
	OnPath(f func(kcptransport.PathInfo)) (stop func())
	Done() <-chan struct{}
	Err() error
}

var _ Link = (*kcptransport.Link)(nil)

// Config says how a [Puncher] works. The zero value of a field means its default.
type Config struct {
	// Candidates returns our own candidates: Gatherer.Candidates. They order what is tried. Default none.
	Candidates func() []kcptransport.Candidate

	// NAT returns what is known of our own NAT: Gatherer.NAT. Default nothing.
	NAT func() NAT

	// Timeout is how long one Punch waits for a direct path, at most DoubtfulTimeout when what is believed of the two
	// NATs says that punching does not suffice. Default 10 s.
	Timeout time.Duration

	// Records is how many peers' records Explain remembers; the one not punched for longest goes first. Default 256.
	Records int

	// OnEvent is told what happens, if set. It is called on the goroutine of the Punch it is about, so events of one
	// Punch come one at a time and those of several may come at once. It must not block.
	OnEvent func(Event)
}

// DoubtfulTimeout bounds a Punch that is not expected to succeed ([Record].Needs).
const DoubtfulTimeout = 5 * time.Second

// Options are about one Punch. The zero value will do.
type Options struct {
	RemoteNAT NAT                   // what the peer told of its NAT
	Timeout   time.Duration         // at most; default Config.Timeout
	Via       []kcptransport.PeerID // who introduced the two, for the record
}

// Result is a direct path and how it was found.
type Result struct {
	Path   kcptransport.PathInfo
	After  time.Duration // since the call of Punch
	Probes int           // sent until then
}

// Puncher finds direct paths for links. Its methods may be called from any goroutine, and several Punch at once.
type Puncher struct {
	cfg Config

	mu      sync.Mutex
	records map[kcptransport.PeerID]*Record
	order   []kcptransport.PeerID // of records, the oldest first
}

// New returns a puncher.
func New(cfg Config) *Puncher {
	if cfg.Candidates == nil {
		cfg.Candidates = func() []kcptransport.Candidate { return nil }
	}
	if cfg.NAT == nil {
		cfg.NAT = func() NAT { return NAT{} }
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = MaxTime
	}
	if cfg.Records == 0 {
		cfg.Records = 256
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	return &Puncher{cfg: cfg, records: map[kcptransport.PeerID]*Record{}}
}

// NoAnswerError is the error of a Punch that found no direct path in its time.
type NoAnswerError struct {
	Peer  kcptransport.PeerID
	After time.Duration
	Needs Need             // what a path would have taken, if that is believed to be known
	Tried []netip.AddrPort // in order of trying; empty when the peer told no address
}

func (e *NoAnswerError) Error() string {
	after := e.After.Round(time.Millisecond)
	if len(e.Tried) == 0 {
		return fmt.Sprintf("punch: peer %s told no candidate and nothing came from it in %s", e.Peer.Short(), after)
	}
	text := fmt.Sprintf("punch: no candidate of peer %s answered in %s (tried %s)", e.Peer.Short(), after, listAddrs(e.Tried))
	if e.Needs != NeedsNothing {
		text += ": a direct path " + string(e.Needs)
	}
	return text
}

// Timeout reports true: NATs change, so it is worth trying again.
func (e *NoAnswerError) Timeout() bool { return true }

// Punch looks for a direct path until the link uses one that works, which it returns at once if it is so already. Both
// sides of the link call it at the same time: as soon as the handshake is done, which is when Dial and Accept return, or
// [kcptransport.Config].OnMet is called for a link whose path has failed. Without a path in the time of Config and Options
// the error is a [*NoAnswerError]; when the link or ctx ends before, it wraps their error.
func (p *Puncher) Punch(ctx context.Context, link Link, o Options) (Result, error) {
	r := newRun(p, link, o, time.Now())
	info, err := r.loop(ctx)
	p.remember(r.finish(info, err, time.Now()))
	return Result{Path: info, After: r.record.Took.Duration(), Probes: r.record.Probes}, err
}

// Explain returns the record of the latest Punch of a link to peer: as it stood at its end, or, while it runs, as it
// stood at most 100 ms ago.
func (p *Puncher) Explain(peer kcptransport.PeerID) (Record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[peer]
	if r == nil {
		return Record{}, false
	}
	return *r, true
}

func (p *Puncher) remember(r *Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.records[r.Peer] != nil {
		p.order = remove(p.order, r.Peer)
	}
	p.records[r.Peer] = r
	p.order = append(p.order, r.Peer)
	if len(p.order) > p.cfg.Records {
		delete(p.records, p.order[0])
		p.order = remove(p.order, p.order[0])
	}
}
