package kcptransport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A simulated path between two muxes, in virtual time. It works on what poll makes, so there is neither encryption nor
// a socket, and packetOverhead stands for them.
type simModel struct {
	rate      float64 // bits a second, 0 = no limit
	delay     time.Duration
	jitter    time.Duration // uniform, reorders
	loss      float64
	burst     float64 // probability that a packet after a lost one is lost too
	duplicate float64
	queue     int // bytes, 0 = no limit
}

const packetOverhead = 28 + 9 + 16 + 3 // IP, UDP, packet header, tag, frame header

type packetInFlight struct {
	at   time.Duration
	data []byte
}

// simPath is one direction.
type simPath struct {
	model    simModel
	rng      *rand.Rand
	busyTill time.Duration
	lastLost bool
	lastSent time.Duration
	flying   []packetInFlight

	sent, bytes, lost, overflowed int
	maxQueue                      time.Duration
}

func (p *simPath) send(now time.Duration, data []byte) {
	p.sent++
	size := len(data) - 2 + packetOverhead
	p.bytes += size
	inBurst := p.lastLost && now-p.lastSent < 100*time.Millisecond // what makes bursts does not wait for us
	p.lastSent = now
	if p.lastLost = p.rng.Float64() < p.model.loss || inBurst && p.rng.Float64() < p.model.burst; p.lastLost {
		p.lost++
		return
	}
	at := now
	if p.model.rate > 0 {
		p.busyTill = max(p.busyTill, now)
		if p.model.queue > 0 && float64(p.model.queue) < (p.busyTill-now).Seconds()*p.model.rate/8 {
			p.overflowed++
			return
		}
		p.maxQueue = max(p.maxQueue, p.busyTill-now)
		p.busyTill += time.Duration(float64(size) * 8 / p.model.rate * 1e9)
		at = p.busyTill
	}
	at += p.model.delay
	copies := 1
	if p.rng.Float64() < p.model.duplicate {
		copies = 2
	}
	for range copies {
		t := at
		if p.model.jitter > 0 {
			t += time.Duration(p.rng.Int64N(int64(p.model.jitter)))
		}
		f := packetInFlight{t, slices.Clone(data)}
		i := len(p.flying)
		for i > 0 && p.flying[i-1].at > t {
			i--
		}
		p.flying = slices.Insert(p.flying, i, f)
	}
}

// receive returns the next packet that has arrived by now.
func (p *simPath) receive(now time.Duration) []byte {
	if len(p.flying) == 0 || p.flying[0].at > now {
		return nil
	}
	data := p.flying[0].data
	p.flying = p.flying[1:]
	return data
}

// muxPair is two muxes and the path between them, run by one goroutine.
type muxPair struct {
	t      testing.TB
	a, b   *mux
	more   [][2]*mux // further pairs that share the path
	ab, ba *simPath
	start  time.Time
	wakeC  chan struct{}
	stopC  chan struct{}
	doneC  chan struct{}
	calls  chan func()
	turns  int
	once   sync.Once
}

type pairOption func(p *muxPair, a, b *muxConfig)

func withStreams(n int) pairOption {
	return func(_ *muxPair, a, b *muxConfig) { a.maxStreams, b.maxStreams = n, n }
}

// newMuxPair joins two muxes; it runs until the test ends or stop is called.
func newMuxPair(t testing.TB, model simModel, options ...pairOption) *muxPair {
	p := &muxPair{
		t: t, start: time.Now(), wakeC: make(chan struct{}, 1), stopC: make(chan struct{}), doneC: make(chan struct{}),
		calls: make(chan func()),
	}
	p.ab = &simPath{model: model, rng: rand.New(rand.NewPCG(1, 2))}
	p.ba = &simPath{model: model, rng: rand.New(rand.NewPCG(3, 4))}
	a := muxConfig{even: true, maxPayload: 1204, now: p.start, wake: p.wake, local: testAddr(1), remote: testAddr(2)}
	b := a
	b.even, b.local, b.remote = false, a.remote, a.local
	for _, o := range options {
		o(p, &a, &b)
	}
	p.a, p.b = newMux(a), newMux(b)
	go p.run()
	return p
}

func testAddr(n byte) net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 7337))
}

func (p *muxPair) wake() {
	select {
	case p.wakeC <- struct{}{}:
	default:
	}
}

// stop ends the loop; both muxes fail with net.ErrClosed.
func (p *muxPair) stop() {
	p.once.Do(func() { close(p.stopC) })
	<-p.doneC
}

// do runs f on the loop.
func (p *muxPair) do(f func()) {
	done := make(chan struct{})
	select {
	case p.calls <- func() { f(); close(done) }:
		<-done
	case <-p.doneC:
		f()
	}
}

func (p *muxPair) run() {
	defer close(p.doneC)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last, set time.Time // set: when the timer goes off
	still := 0
	for {
		p.turns++
		now := time.Now()
		if now.After(last) {
			last, still = now, 0
		} else if still++; still > 20000 {
			panic(fmt.Sprintf("time stands still at %v: a %s b %s", now.Sub(p.start), dump(p.a), dump(p.b)))
		}
		next := p.turn(now)
		var timeC <-chan time.Time
		if !next.IsZero() {
			if timeC = timer.C; !next.Equal(set) {
				timer.Reset(next.Sub(now))
				set = next
			}
		}
		select {
		case <-timeC:
			set = time.Time{}
		case <-p.wakeC:
		case f := <-p.calls:
			f()
		case <-p.stopC:
			for i := range 1 + len(p.more) {
				p.end(i, 0).close(net.ErrClosed)
				p.end(i, 1).close(net.ErrClosed)
			}
			return
		}
	}
}

// turn moves what is due and returns when something is due next.
func (p *muxPair) turn(now time.Time) time.Time {
	t := now.Sub(p.start)
	p.feed(0, p.ba, now, t)
	p.feed(1, p.ab, now, t)
	var next time.Time
	for i := range 1 + len(p.more) {
		for side, path := range []*simPath{p.ab, p.ba} {
			m := p.end(i, side)
			p.drain(m, byte(i), path, now, t)
			if at := m.next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	for _, path := range []*simPath{p.ab, p.ba} {
		if len(path.flying) > 0 {
			if at := p.start.Add(path.flying[0].at); next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return next
}

// end returns one end of pair i.
func (p *muxPair) end(i, side int) *mux {
	if i > 0 {
		return p.more[i-1][side]
	}
	return [2]*mux{p.a, p.b}[side]
}

// add joins two more muxes by the same path.
func (p *muxPair) add() (a, b *mux) {
	ca, cb := p.a.cfg, p.b.cfg
	ca.now = time.Now()
	cb.now = ca.now
	a, b = newMux(ca), newMux(cb)
	p.do(func() { p.more = append(p.more, [2]*mux{a, b}) })
	return a, b
}

func (p *muxPair) feed(side int, from *simPath, now time.Time, t time.Duration) {
	any := make([]bool, 1+len(p.more))
	for data := from.receive(t); data != nil; data = from.receive(t) {
		m := p.end(int(data[1]), side)
		any[data[1]] = true
		if data[0] == 1 {
			m.gone(binary.BigEndian.Uint32(data[2:]))
		} else if err := m.input(now, data[2:]); err != nil {
			p.t.Errorf("input at %v: %v", t, err)
		}
	}
	for i := range any {
		if any[i] {
			p.end(i, side).endBatch(now)
		}
	}
}

func (p *muxPair) drain(m *mux, tag byte, to *simPath, now time.Time, t time.Duration) {
	m.advance(now)
	for {
		packet, ok := m.poll(now, []byte{0, tag})
		if !ok {
			break
		}
		if len(packet) > 2+m.cfg.maxPayload {
			p.t.Errorf("poll made a packet of %d bytes", len(packet))
		}
		to.send(t, packet)
	}
	for conv, ok := m.pollGone(); ok; conv, ok = m.pollGone() {
		to.send(t, binary.BigEndian.AppendUint32([]byte{1, tag}, conv))
	}
}

// inBubble runs a test in virtual time with a pair that is stopped at the end.
func inBubble(t *testing.T, model simModel, f func(t *testing.T, p *muxPair), options ...pairOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newMuxPair(t, model, options...)
		defer p.stop()
		f(t, p)
	})
}

// pass lets virtual time go by, and then everybody who has something to do.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (p *muxPair) open(m *mux, kind string) *Stream {
	p.t.Helper()
	s, err := m.open(kind)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *muxPair) accept(m *mux) *Stream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := m.accept(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// pattern is a reader of n pseudorandom bytes.
func pattern(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

func (p *muxPair) wantRead(s *Stream, want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
		p.t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func (p *muxPair) wantEOF(s *Stream) {
	p.t.Helper()
	if n, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		p.t.Fatalf("read %d bytes, %v; want EOF", n, err)
	}
}

// wantIdle waits until both muxes have nothing left to do: no timer, nothing unacknowledged.
func (p *muxPair) wantIdle() {
	p.t.Helper()
	pass(30 * time.Second) // the last acknowledgements may be lost again and again, and then memory is given back
	p.do(func() {
		for name, m := range map[string]*mux{"a": p.a, "b": p.b} {
			if at := m.next(); !at.IsZero() {
				p.t.Errorf("mux %s wants to be woken at %v", name, at.Sub(p.start))
			}
			if m.pending() {
				p.t.Errorf("mux %s has something pending", name)
			}
			if m.log.inflight != 0 {
				p.t.Errorf("mux %s has %d bytes in flight", name, m.log.inflight)
			}
		}
	})
}

// wantStreams checks how many streams both muxes know, also in their accounts.
func (p *muxPair) wantStreams(n int) {
	p.t.Helper()
	p.do(func() {
		for name, m := range map[string]*mux{"a": p.a, "b": p.b} {
			m.mu.Lock()
			opened := m.opened
			m.mu.Unlock()
			if got := m.stats().Streams; got != n || opened+m.peerOpen != n {
				p.t.Errorf("mux %s has %d streams, %d own and %d accepted; want %d", name, got, opened, m.peerOpen, n)
			}
			if n == 0 && m.handedBytes != 0 {
				p.t.Errorf("mux %s counts %d bytes in KCP", name, m.handedBytes)
			}
			if n == 0 && m.memory.held > machineMemory {
				p.t.Errorf("mux %s counts %d bytes of memory", name, m.memory.held)
			}
			if n == 0 && m.windows > recvWindowNew {
				p.t.Errorf("mux %s counts windows of %d segments", name, m.windows)
			}
		}
	})
}

// dump describes a mux for a failing test.
func dump(m *mux) string {
	s := fmt.Sprintf("%+v now %v next %v probe %v loss %v pace %+v handed %d fresh %d resend %d\n", m.stats(), m.now, m.next().Sub(m.start),
		m.probeAt(), m.lossAt, m.pace, m.handedBytes, m.levels[1].fresh.bytes(), m.levels[1].resend.bytes())
	for id, c := range m.convs {
		s += fmt.Sprintf("  conv %d: una %d fed %d edge %d handed %d emitted %d outstanding %d maxAcked %d due %v last update %v; next %d consumed %d window %d\n",
			id, c.send.una, int32(c.send.fed), c.send.edge, c.send.handed, c.send.emitted, c.send.outstanding, c.send.maxAcked,
			c.due(), c.lastUpdate, c.recv.next, c.recv.consumed, c.recv.window)
	}
	return s
}
