package punch

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

var alice, bob = kcptransport.PeerID{1}, kcptransport.PeerID{2}

// fakeLink is a link whose peer answers probes to some addresses.
type fakeLink struct {
	initiator bool
	signalRTT time.Duration
	remote    []kcptransport.Candidate
	answers   map[netip.AddrPort]answers
	done      chan struct{}
	err       error

	mu     sync.Mutex
	began  time.Time
	probes []probe
	paths  map[netip.AddrPort]kcptransport.PathInfo
	listen []func(kcptransport.PathInfo)
}

// answers says that probes sent from a time on are answered after rtt.
type answers struct{ from, rtt time.Duration }

type probe struct {
	at  time.Duration
	to  netip.AddrPort
	ttl int
}

func newFakeLink(remote ...kcptransport.Candidate) *fakeLink {
	return &fakeLink{
		remote: remote, began: time.Now(), done: make(chan struct{}), answers: map[netip.AddrPort]answers{},
		paths: map[netip.AddrPort]kcptransport.PathInfo{},
	}
}

func (l *fakeLink) Peer() kcptransport.PeerID                  { return bob }
func (l *fakeLink) Initiator() bool                            { return l.initiator }
func (l *fakeLink) SignalRTT() time.Duration                   { return l.signalRTT }
func (l *fakeLink) ObservedAddr() netip.AddrPort               { return netip.AddrPort{} }
func (l *fakeLink) RemoteCandidates() []kcptransport.Candidate { return l.remote }
func (l *fakeLink) Done() <-chan struct{}                      { return l.done }
func (l *fakeLink) Err() error                                 { return l.err }

func (l *fakeLink) Probe(p kcptransport.Path, ttl int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Since(l.began)
	l.probes = append(l.probes, probe{at, p.Addr, ttl})
	if a, ok := l.answers[p.Addr]; ok && ttl == 0 && at >= a.from {
		time.AfterFunc(a.rtt, func() { l.validated(p, a.rtt) })
	}
}

// validated makes a path the one in use.
func (l *fakeLink) validated(p kcptransport.Path, rtt time.Duration) {
	l.mu.Lock()
	info := kcptransport.PathInfo{Path: p, State: kcptransport.PathValidated, InUse: true, RTT: rtt, Since: time.Now()}
	l.paths[p.Addr] = info
	listen := l.listen
	l.mu.Unlock()
	for _, f := range listen {
		f(info)
	}
}

// heard makes an address known by a packet from there.
func (l *fakeLink) heard(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paths[addr] = kcptransport.PathInfo{Path: kcptransport.Path{Addr: addr}, State: kcptransport.PathProbing, LastHeard: time.Now()}
}

func (l *fakeLink) Paths() (out []kcptransport.PathInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.paths {
		out = append(out, p)
	}
	return out
}

func (l *fakeLink) OnPath(f func(kcptransport.PathInfo)) func() {
	l.mu.Lock()
	l.listen = append(l.listen, f)
	paths := make([]kcptransport.PathInfo, 0, 1)
	for _, p := range l.paths {
		if p.InUse {
			paths = append(paths, p)
		}
	}
	l.mu.Unlock()
	for _, p := range paths {
		f(p)
	}
	return func() {}
}

var (
	srflx = candidate(kcptransport.ServerReflexive, 0, netip.MustParseAddrPort("203.0.113.9:7000"))
	inner = candidate(kcptransport.Host, 0, netip.MustParseAddrPort("10.0.0.9:7000"))
	ours  = candidate(kcptransport.Host, 0, netip.MustParseAddrPort("192.168.1.5:7000"))
	moved = netip.MustParseAddrPort("203.0.113.9:4242")
)

func local() []kcptransport.Candidate { return []kcptransport.Candidate{ours} }

func TestPunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(inner, srflx)
		link.initiator, link.signalRTT = true, 100*time.Millisecond
		link.answers[srflx.Addr] = answers{rtt: 80 * time.Millisecond}
		var events []string
		p := New(Config{Candidates: local, OnEvent: func(e Event) { events = append(events, string(e.Type)) }})
		r, err := p.Punch(context.Background(), link, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Path.Path.Addr != srflx.Addr || r.After != 430*time.Millisecond {
			t.Errorf("direct by %v after %v, want %v after 430ms: twice 100, patience, resend and 80", r.Path.Path, r.After, srflx.Addr)
		}
		if want := (probe{0, srflx.Addr, openerTTL}); link.probes[0] != want {
			t.Errorf("first probe %v, want %v: it opens our NAT", link.probes[0], want)
		}
		if want := (probe{350 * time.Millisecond, srflx.Addr, 0}); link.probes[4] != want {
			t.Errorf("first full probe %v, want %v", link.probes[4], want)
		}
		if r.Probes != 8 || len(link.probes) != 8 { // two candidates, at 0, 50, 350 and 400 ms
			t.Errorf("%d probes, %d counted, want 8", len(link.probes), r.Probes)
		}
		if got := strings.Join(events, " "); got != "started answered direct" {
			t.Errorf("events %s", got)
		}
	})
}

// Full probes wait for the peer to begin, so that they do not take its port, but no longer than until it is heard: at
// the next look, and with the pauses that they have otherwise.
func TestPunchHastensWhenThePeerIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(srflx)
		link.initiator, link.signalRTT = true, 400*time.Millisecond
		time.AfterFunc(460*time.Millisecond, func() { link.heard(srflx.Addr) })
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		defer cancel()
		if _, err := New(Config{Candidates: local}).Punch(ctx, link, Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		var full []time.Duration
		for _, p := range link.probes {
			if p.ttl == 0 {
				full = append(full, p.at)
			}
		}
		if want := []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond}; len(full) < 3 ||
			full[0] < 460*time.Millisecond || full[0] > 460*time.Millisecond+lookOften || !slices.Equal(pauses(full[:3]), want) {
			t.Errorf("full probes at %v, want the first at most %v after 460ms, and then the pauses of rounds", full, lookOften)
		}
	})
}

// pauses returns how long after the first each is.
func pauses(at []time.Duration) (out []time.Duration) {
	for _, a := range at {
		out = append(out, a-at[0])
	}
	return out
}

func TestPunchWithAPathAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(srflx)
		link.validated(kcptransport.Path{Addr: srflx.Addr}, time.Millisecond)
		r, err := New(Config{}).Punch(context.Background(), link, Options{})
		if err != nil || r.After != 0 || len(link.probes) > 0 {
			t.Errorf("after %v with %d probes, error %v", r.After, len(link.probes), err)
		}
	})
}

// A relayed path is a path, and not what punching is for.
func TestPunchBesideARelayedPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(srflx)
		link.validated(kcptransport.Path{Addr: inner.Addr, Circuit: 7}, time.Millisecond)
		link.answers[srflx.Addr] = answers{rtt: 20 * time.Millisecond}
		r, err := New(Config{}).Punch(context.Background(), link, Options{})
		if err != nil || r.Path.Path.Addr != srflx.Addr {
			t.Errorf("direct by %v, error %v", r.Path.Path, err)
		}
	})
}

func TestPunchInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(inner, srflx)
		p := New(Config{Candidates: local})
		start := time.Now()
		_, err := p.Punch(context.Background(), link, Options{})
		var noAnswer *NoAnswerError
		if !errors.As(err, &noAnswer) || !noAnswer.Timeout() || time.Since(start) != MaxTime {
			t.Fatalf("error %v after %v", err, time.Since(start))
		}
		if want := "punch: no candidate of peer " + bob.Short() + " answered in 10s (tried 2: 203.0.113.9:7000, 10.0.0.9:7000)"; err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		if n := len(link.probes); n == 0 || n > MaxSteps {
			t.Errorf("%d probes", n)
		}
		if _, err = p.Punch(context.Background(), newFakeLink(), Options{}); err == nil || !strings.Contains(err.Error(), "told no candidate") {
			t.Errorf("error %v", err)
		}
	})
}

// Whoever asks while it runs is told how it stands, and at once what the NATs would take.
func TestExplainWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moving := NAT{Mapping: Belief[Behaviour]{AddressAndPortDependent, 0.9}}
		p := New(Config{Candidates: local, NAT: func() NAT { return moving }})
		time.AfterFunc(time.Second, func() {
			r, ok := p.Explain(bob)
			if !ok || !r.Running || r.Needs != NeedsRelay || r.Targets[0].Sent != 6 || r.Targets[0].Outcome != "" {
				t.Errorf("record %+v", r)
			}
			if text := r.String(); !strings.Contains(text, "still trying") || !strings.Contains(text, "needs relay") {
				t.Errorf("text %s", text)
			}
		})
		_, err := p.Punch(context.Background(), newFakeLink(srflx), Options{RemoteNAT: moving})
		var noAnswer *NoAnswerError
		if !errors.As(err, &noAnswer) || noAnswer.Needs != NeedsRelay {
			t.Errorf("error %v", err)
		}
		if r, _ := p.Explain(bob); r.Running || r.Took.Duration() != DoubtfulTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// A packet from an address that nobody told makes it a target: the other side's port moves with the destination.
func TestPunchPursuesPeerReflexive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(srflx)
		link.answers[moved] = answers{rtt: 80 * time.Millisecond}
		time.AfterFunc(60*time.Millisecond, func() { link.heard(moved) })
		p := New(Config{})
		r, err := p.Punch(context.Background(), link, Options{})
		if err != nil || r.Path.Path.Addr != moved || r.After > 200*time.Millisecond {
			t.Fatalf("direct by %v after %v, error %v", r.Path.Path, r.After, err)
		}
		record, _ := p.Explain(bob)
		if n := len(record.Targets); n != 2 || record.Targets[1].Type != "prflx" || record.Targets[1].Outcome != "won" {
			t.Errorf("targets %+v", record.Targets)
		}
	})
}

// A peer, or whoever can replay its packets, must not be able to make us probe without end.
func TestPunchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var remote []kcptransport.Candidate
		for n := range 200 {
			remote = append(remote, candidate(kcptransport.Host, n, netip.AddrPortFrom(srflx.Addr.Addr(), uint16(1000+n))))
		}
		link := newFakeLink(remote...)
		for n := range 100 {
			link.heard(netip.AddrPortFrom(srflx.Addr.Addr(), uint16(5000+n)))
		}
		p := New(Config{})
		if _, err := p.Punch(context.Background(), link, Options{}); err == nil {
			t.Fatal("no error")
		}
		if n := len(link.probes); n > MaxSteps {
			t.Errorf("%d probes", n)
		}
		if record, _ := p.Explain(bob); len(record.Targets) > maxTargets+maxSeen {
			t.Errorf("%d targets in the record", len(record.Targets))
		}
	})
}

func TestPunchEndsWithItsLinkAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(srflx)
		link.err = kcptransport.ErrClosed
		time.AfterFunc(time.Second, func() { close(link.done) })
		if _, err := New(Config{}).Punch(context.Background(), link, Options{}); !errors.Is(err, kcptransport.ErrClosed) {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := New(Config{}).Punch(ctx, newFakeLink(srflx), Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newFakeLink(inner, srflx)
		link.initiator, link.signalRTT = true, 100*time.Millisecond
		link.answers[srflx.Addr] = answers{from: 100 * time.Millisecond, rtt: 80 * time.Millisecond}
		nat := func() NAT { return NAT{Mapping: Belief[Behaviour]{EndpointIndependent, 0.7}} }
		p := New(Config{Candidates: local, NAT: nat})
		if _, ok := p.Explain(bob); ok {
			t.Error("a record before the first punch")
		}
		if _, err := p.Punch(context.Background(), link, Options{Via: []kcptransport.PeerID{alice}}); err != nil {
			t.Fatal(err)
		}
		record, _ := p.Explain(bob)
		want := `
peer aiaaaaaa: direct by 203.0.113.9:7000 after 430ms (8 probes, we called, round trip over the introducer 100ms, via aeaaaaaa)
our NAT:   mapping endpoint-independent (70 % sure), filtering unknown, port unknown
their NAT: mapping unknown, filtering unknown, port preserved (70 % sure)
our candidates:   host 192.168.1.5:7000
their candidates: host 10.0.0.9:7000, srflx 203.0.113.9:7000
  tried             type   probes  from    answered  rtt   outcome
  203.0.113.9:7000  srflx  4       +0.0ms  +430ms    80ms  won
  10.0.0.9:7000     host   4       +0.0ms  -         -     no answer until a path was found
`
		want = strings.TrimSpace(want)
		if got := record.String(); got != want {
			t.Errorf("record\n%s\nwant\n%s", got, want)
		}
		if b, err := json.Marshal(record); err != nil || !strings.Contains(string(b), `"took_ms":430,"winner":"203.0.113.9:7000","rtt_ms":80`) {
			t.Errorf("JSON %s, error %v", b, err)
		}
	})
}

func TestRecordsAreBounded(t *testing.T) {
	p := New(Config{Records: 3})
	for n := range 10 {
		p.remember(&Record{Peer: kcptransport.PeerID{byte(n), 1}})
		p.remember(&Record{Peer: kcptransport.PeerID{7, 1}, Probes: n})
	}
	if len(p.records) != 3 || len(p.order) != 3 {
		t.Errorf("%d records, %d in order", len(p.records), len(p.order))
	}
	if r, ok := p.Explain(kcptransport.PeerID{7, 1}); !ok || r.Probes != 9 {
		t.Errorf("the newest record is %+v", r)
	}
}
