package netmon

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is what a monitor sees in a test.
type machine struct {
	mu      sync.Mutex
	addrs   []netip.Addr
	changes []string
	hint    func(hint)
	closed  bool
}

func (m *machine) Close() error { m.closed = true; return nil }

func (m *machine) set(addrs ...netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs = addrs
}

func (m *machine) start(told bool) *Monitor {
	return Start(Config{
		OnChange: func(c Change) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.changes = append(m.changes, c.String())
		},
		Addrs: func() []netip.Addr {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.addrs
		},
		routes: func() (v4, v6 netip.Addr) { return },
		listen: func(tell func(hint)) (io.Closer, bool) {
			m.hint = tell
			return m, told
		},
	})
}

func (m *machine) want(t *testing.T, changes ...string) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.changes, changes) {
		t.Fatalf("reported %q, want %q", m.changes, changes)
	}
	m.changes = nil
}

func TestMonitorFollowsHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{addrs: []netip.Addr{home}}
		mon := m.start(true)
		m.set(cafe)
		m.hint(hint{})
		m.hint(hint{rerouted: true})
		m.hint(hint{})
		time.Sleep(quiet - time.Millisecond)
		m.want(t)
		time.Sleep(time.Millisecond)
		m.want(t, "10.0.0.9 added, 192.168.1.7 gone, another route")
		time.Sleep(time.Hour)
		m.want(t)
		mon.Close()
		mon.Close()
		if !m.closed {
			t.Error("the source of hints was not closed")
		}
	})
}

func TestMonitorPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{addrs: []netip.Addr{home}}
		mon := m.start(false)
		defer mon.Close()
		m.set(home, cafe)
		time.Sleep(pollEvery)
		m.want(t, "10.0.0.9 added")
	})
}

// The real system: nothing is asked of it but that it answers and that Close ends everything.
func TestSystem(t *testing.T) {
	m := Start(Config{OnChange: func(Change) {}, Addrs: func() []netip.Addr { return nil }})
	m.Close()
}
