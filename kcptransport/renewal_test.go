package kcptransport

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// flow is numbered messages that go one way over one stream, until it is ended: one each second, or many while busy.
type flow struct {
	w    *world
	busy atomic.Bool
	halt func()
	sent chan uint64 // how many were written
	got  chan error  // once every message has come once and in order, or what came instead
	n    uint64      // that came
}

// Pauses between the messages of a flow.
const (
	flowPause = time.Second
	flowBusy  = 5 * time.Millisecond
)

func (w *world) startFlow(l, m *Link) *flow {
	w.Helper()
	stop := make(chan struct{})
	f := &flow{w: w, halt: sync.OnceFunc(func() { close(stop) }), sent: make(chan uint64, 1), got: make(chan error, 1)}
	w.Cleanup(f.halt)
	s := w.open(l, "flow")
	go func() {
		defer s.CloseWrite()
		for n := uint64(0); ; n++ {
			pause := flowPause
			if f.busy.Load() {
				pause = flowBusy
			}
			select {
			case <-stop:
				f.sent <- n
				return
			case <-time.After(pause):
			}
			if _, err := s.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
				f.sent <- n
				return
			}
		}
	}()
	go func() {
		r, err := m.AcceptStream(w.ctx)
		if err != nil {
			f.got <- err
			return
		}
		f.got <- f.read(r)
	}()
	return f
}

func (f *flow) read(r io.Reader) error {
	var b [8]byte
	for ; ; f.n++ {
		if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if binary.BigEndian.Uint64(b[:]) != f.n {
			return errors.New("a message came twice, or not at all")
		}
	}
}

// end stops the flow and checks that every message came once and in order.
func (f *flow) end() {
	f.w.Helper()
	f.halt()
	sent := <-f.sent
	if err := <-f.got; err != nil || f.n != sent || sent == 0 {
		f.w.Fatalf("%d messages came of %d: %v", f.n, sent, err)
	}
}

// flows are messages both ways.
type flows [2]*flow

func (w *world) startFlows(l, m *Link) flows {
	w.Helper()
	up := w.startFlow(l, m)
	w.sleep(2 * flowPause) // so that the streams are told apart
	down := w.startFlow(m, l)
	w.sleep(2 * flowPause)
	return flows{up, down}
}

func (f flows) end() {
	f[0].w.Helper()
	f[0].end()
	f[1].end()
}

// whileBusy runs do with the flows busy, from a second before until a second after.
func (f flows) whileBusy(do func()) {
	f[0].busy.Store(true)
	f[1].busy.Store(true)
	f[0].w.sleep(2 * flowPause)
	do()
	f[0].w.sleep(flowPause)
	f[0].busy.Store(false)
	f[1].busy.Store(false)
}

// askRenewal makes a side renew the keys now, as it does every hour; not sooner than guessTime after the last time.
func (w *world) askRenewal(l *Link) {
	w.Helper()
	info := w.waitPath(l)
	l.ep.shaker.inbox.put(rekeyRequest{link: l, addr: info.Path.Addr})
}

// wantRenewed waits until neither node has a session that is in before, but each has another. (Two that were made at
// once both stay until the next renewal.)
func (w *world) wantRenewed(a, b *node, before []uint32, limit time.Duration) {
	w.Helper()
	old := make(map[uint32]bool)
	for _, i := range before {
		old[i] = true
	}
	for start := time.Now(); time.Since(start) < limit; w.sleep(time.Second) {
		isOld := func(i uint32) bool { return old[i] }
		mine, theirs := a.indices(), b.indices()
		if len(mine)*len(theirs) > 0 && !slices.ContainsFunc(mine, isOld) && !slices.ContainsFunc(theirs, isOld) {
			return
		}
	}
	w.Fatalf("indices %v and %v after %v, before they were %v", a.indices(), b.indices(), limit, before)
}

// Both sides begin to renew the keys at the same moment, or nearly so, again and again: they end up with the same
// session, and no packet meets a side that cannot open it.
func TestRenewalTogether(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for _, test := range []struct {
		name  string
		apart time.Duration // the second side begins later
	}{
		{"at once", 0},
		{"while the first message is under way", rtt / 4},
		{"as it arrives", rtt / 2},
		{"while the answer is under way", 3 * rtt / 4},
		{"as the answer arrives", rtt},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, rtt, func(w *world) {
				a, b, l, m := w.pair()
				messages := w.startFlows(l, m)
				for i := range 4 {
					w.sleep(2 * guessTime)
					before := append(a.indices(), b.indices()...)
					one, two := l, m
					if i%2 == 1 {
						one, two = m, l
					}
					messages.whileBusy(func() {
						w.askRenewal(one)
						w.sleep(test.apart)
						w.askRenewal(two)
					})
					w.wantRenewed(a, b, before, time.Minute)
				}
				messages.end()
				if n := l.Stats().PacketsRefused + m.Stats().PacketsRefused; n != 0 {
					w.Errorf("%d packets came under keys that their receiver did not have", n)
				}
				if l.Initiator() == m.Initiator() {
					w.Error("the sides do not agree who began the session")
				}
			})
		})
	}
}

// The two sides renew the keys so far apart that one of them takes the two sessions for made at once and the other one
// does not. Then each sends under another one, and neither may forget the other's.
func TestRenewalNearlyTogether(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for _, early := range []time.Duration{-rtt, -3 * rtt / 4, -rtt / 2, -rtt / 4, 0, rtt / 4, rtt / 2, 3 * rtt / 4, rtt} {
		inWorld(t, rtt, func(w *world) {
			_, _, l, m := w.pair()
			messages := w.startFlows(l, m)
			w.sleep(2 * guessTime)
			for range 2 {
				w.askRenewal(l)
				w.sleep(guessTime - early)
				w.askRenewal(m)
				w.sleep(3 * time.Minute)
			}
			messages.end()
			if n := l.Stats().PacketsRefused + m.Stats().PacketsRefused; n != 0 {
				w.Errorf("%v: %d packets came under keys that their receiver did not have", early, n)
			}
		})
	}
}

// One packet in five is lost, each way, while keys are renewed by one side or by both.
func TestRenewalUnderLoss(t *testing.T) {
	for seed := range uint64(4) {
		inSeededWorld(t, seed, 50*time.Millisecond, func(w *world) {
			w.link.Loss = 0.1056 // twice on the way
			a, b, l, m := w.pair()
			messages := w.startFlows(l, m)
			for i := range 4 {
				w.sleep(2 * guessTime)
				before := append(a.indices(), b.indices()...)
				messages.whileBusy(func() {
					if i%3 != 1 {
						w.askRenewal(l)
					}
					if i%3 != 0 {
						w.askRenewal(m)
					}
				})
				w.wantRenewed(a, b, before, 2*time.Minute)
			}
			messages.end()
		})
	}
}

// A side moves in the middle of a renewal, its own or the other's. The handshake may go to where nobody is any more;
// then the keys are renewed later, and the link loses nothing.
func TestRenewalWhileRoaming(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for _, test := range []struct {
		name string
		ask  byte // who renews
	}{{"who renews moves", 1}, {"the other one moves", 2}, {"both renew", 3}} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, rtt, func(w *world) {
				a, b, l, m := w.pair()
				messages := w.startFlows(l, m)
				moment := []time.Duration{0, rtt / 4, rtt / 2, 3 * rtt / 4, rtt, 5 * rtt / 4}
				for i, at := range moment {
					w.sleep(2 * guessTime)
					before := append(a.indices(), b.indices()...)
					ask := func() {
						if test.ask&1 != 0 {
							w.askRenewal(l)
						}
						if test.ask&2 != 0 {
							w.askRenewal(m)
						}
					}
					messages.whileBusy(func() {
						ask()
						w.sleep(at)
						a.host.SetAddrs(nodeAddr(1, byte(i+1)))
					})
					w.sleep(rekeyPause) // as a link that asks again
					ask()
					w.wantRenewed(a, b, before, time.Minute)
				}
				messages.end()
			})
		})
	}
}

// A host sleeps for an hour, in which its keys come of age: what it missed comes afterwards, and the keys are renewed.
// Links of sleepers end only because of Config.DeadAfter, which is off here.
func TestRenewalAfterSleep(t *testing.T) {
	for _, sleeper := range []byte{1, 2} {
		inWorld(t, 50*time.Millisecond, func(w *world) {
			patient := func(c *Config) { c.DeadAfter = -1 }
			a, b := w.node(1, patient), w.node(2, patient)
			l := a.dial(b)
			m := b.accept()
			up := w.startFlow(l, m)
			w.sleep(10 * time.Minute)
			before := append(a.indices(), b.indices()...)
			host := map[byte]*netsim.Host{1: a.host, 2: b.host}[sleeper]
			host.Pause()
			w.sleep(time.Hour)
			host.Resume()
			w.wantRenewed(a, b, before, 3*time.Minute)
			up.end()
		})
	}
}
