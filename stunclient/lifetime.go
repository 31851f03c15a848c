package stunclient

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v2"
)

const (
	defaultLongest   = 5 * time.Minute
	defaultWithin    = 30 * time.Minute
	firstWait        = 10 * time.Second
	finestStep       = time.Second
	maxLifetimeTests = 24
)

// LifetimeLimits bound a measurement. A zero value means the default.
type LifetimeLimits struct {
	Longest time.Duration // idle time to try; default 5 min
	Within  time.Duration // the whole measurement; default 30 min. What is known then is the result
}

// Lifetime says how long a mapping lives without a packet. A longer time than that for which RFC 4787 asks (2 min) is
// seldom worth waiting for. Linux lets mappings that carried traffic both ways for a while live longer than this test's:
// see [Prober.Holds].
type Lifetime struct {
	Min time.Duration // a mapping was seen to live that long
	Max time.Duration // and one to be gone after that; 0 when none was
}

// next returns how long to wait in the next test, after whether the last one found the mapping alive.
func (l Lifetime) next(longest time.Duration) (wait time.Duration, more bool) {
	switch {
	case l.Max == 0 && l.Min >= longest:
		return 0, false
	case l.Max == 0:
		return min(max(firstWait, 2*l.Min), longest), true
	case l.Max-l.Min <= max(finestStep, l.Min/10):
		return 0, false
	}
	return (l.Min + l.Max) / 2, true
}

// Lifetime measures how long the NAT keeps a mapping that carries nothing, to a tenth or a second. It takes minutes and a
// server that answers to another port when asked (RESPONSE-PORT), and sends at most 6 small packets for each of about 10
// waits. One spare socket has the mapping; from another one the server is asked, after a while, to send there. When ctx
// or the limits end it early, the result is what is known by then, and the error is that of ctx. A mapping counts
// as gone when 3 tests in a row were lost.
//
// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.6
func (p *Prober) Lifetime(ctx context.Context, server netip.AddrPort, limits LifetimeLimits) (Lifetime, error) {
	if limits.Longest <= 0 {
		limits.Longest = defaultLongest
	}
	if limits.Within <= 0 {
		limits.Within = defaultWithin
	}
	m := &lifetimeTest{server: unmap(server), end: time.Now().Add(limits.Within)}
	for _, s := range []**spare{&m.idle, &m.asking} {
		var err error
		if *s, err = p.open(); err != nil {
			return Lifetime{}, err
		}
		defer (*s).close()
	}
	switch alive, err := m.test(ctx, 0); { // without a wait the mapping is there
	case err != nil:
		return Lifetime{}, err
	case !alive:
		return Lifetime{}, failure(server, ErrUnsupported)
	}
	var known Lifetime
	for range maxLifetimeTests {
		wait, more := known.next(limits.Longest)
		if !more || time.Now().Add(wait).After(m.end) {
			break
		}
		alive, err := m.test(ctx, wait)
		switch {
		case err != nil:
			return known, err
		case alive:
			known.Min = wait
		default:
			known.Max = wait
		}
	}
	return known, nil
}

// lifetimeTest is the sockets of a measurement.
type lifetimeTest struct {
	server netip.AddrPort
	idle   *spare
	asking *spare // nil when knock has the server send
	knock  Knock
	end    time.Time
}

// test makes or refreshes the mapping, waits, and reports whether it is still there.
func (m *lifetimeTest) test(ctx context.Context, wait time.Duration) (alive bool, err error) {
	r, err := m.idle.Binding(ctx, m.server)
	if err != nil {
		return false, err
	}
	if err := m.pause(ctx, wait); err != nil {
		return false, err
	}
	if m.knock != nil {
		return m.knocked(ctx, r.Mapped)
	}
	return m.reaches(ctx, r.Mapped.Port())
}

func (m *lifetimeTest) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return m.ended(ctx)
	}
}

func (m *lifetimeTest) ended(ctx context.Context) error {
	return fmt.Errorf("stunclient: lifetime test with %v: %w", m.server, context.Cause(ctx))
}

// reaches asks the server to send to a port outside, and reports whether that came to the idle socket.
func (m *lifetimeTest) reaches(ctx context.Context, port uint16) (bool, error) {
	answered := make(chan answer, 1)
	t := &transaction{server: m.server, answers: answered, attributes: []stun.Setter{responsePort(port)}}
	if err := m.asking.begin(t, time.Now()); err != nil {
		return false, failure(m.server, err)
	}
	defer m.asking.forget(t)
	arrived := make(chan struct{}, 1)
	m.idle.overhear(func(b []byte, from netip.AddrPort) {
		if IsSTUN(b) && isResponse(messageType(b)) && idOf(b) == t.id && sameAddr(from, m.server) {
			select {
			case arrived <- struct{}{}:
			default:
			}
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-arrived:
			return true, nil
		case <-answered: // an error, or it came here because the attribute was ignored
			return false, failure(m.server, ErrUnsupported)
		case <-ctx.Done():
			return false, m.ended(ctx)
		case now := <-timer.C:
			if t.step(now) != nil {
				return false, nil
			}
			_ = m.asking.send(t.request, m.server) // counts as lost
			timer.Reset(time.Until(t.due))
		}
	}
}

// responsePort is the attribute that asks a server to answer to another port.
// https://www.rfc-editor.org/rfc/rfc5780.html#section-7.5
type responsePort uint16

// AddTo implements [stun.Setter].
func (p responsePort) AddTo(m *stun.Message) error {
	m.Add(stun.AttrResponsePort, binary.BigEndian.AppendUint16(nil, uint16(p)))
	return nil
}
