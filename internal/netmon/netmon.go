// Package netmon tells when this machine's place in the network has changed:
// an address came or went, packets leave by another way, or the machine slept.
//
//	m := netmon.Start(netmon.Config{OnChange: func(c netmon.Change) { … }})
//	defer m.Close()
//
// On Linux the kernel says when to look (rtnetlink); elsewhere, and as a safety
// net on Linux too, the addresses are compared every few seconds. What comes in
// a bunch, as when a cable is plugged in, is reported once.
package netmon

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	pollEvery  = 5 * time.Second        // where nobody tells us
	watchEvery = 15 * time.Second       // where the kernel does; sleep is noticed as late as this
	quiet      = 250 * time.Millisecond // without news before we look
	patience   = time.Second            // that we wait for quiet
)

// Change says what is different from before. At least one field is set.
type Change struct {
	Added, Removed []netip.Addr // of what Config.Addrs lists
	Rerouted       bool         // packets to the internet leave by another address or gateway
	Slept          bool         // the machine was asleep, or this process stopped, for seconds at least
}

// String says the change in a few words.
func (c Change) String() string {
	var parts []string
	for _, a := range c.Added {
		parts = append(parts, a.String()+" added")
	}
	for _, a := range c.Removed {
		parts = append(parts, a.String()+" gone")
	}
	if c.Rerouted {
		parts = append(parts, "another route")
	}
	if c.Slept {
		parts = append(parts, "woke up")
	}
	return strings.Join(parts, ", ")
}

// Config configures a Monitor. OnChange and Addrs are required.
type Config struct {
	// OnChange is called after a change, one call at a time.
	OnChange func(Change)

	// Addrs lists the addresses of this machine that matter.
	Addrs func() []netip.Addr

	// Every is the time between two looks without a hint. Default 15 s on Linux, 5 s elsewhere.
	Every time.Duration

	routes func() (v4, v6 netip.Addr)         // default: ask the system
	listen func(func(hint)) (io.Closer, bool) // default: ask the system
}

// Monitor watches until it is closed.
type Monitor struct {
	cfg    Config
	hints  chan hint
	done   chan struct{}
	wg     sync.WaitGroup
	once   sync.Once
	source io.Closer // of hints, or nil
}

// Start starts a monitor. What it sees first is what changes are measured from.
func Start(cfg Config) *Monitor {
	if cfg.routes == nil {
		cfg.routes = routes
	}
	if cfg.listen == nil {
		cfg.listen = listen
	}
	m := &Monitor{cfg: cfg, hints: make(chan hint, 1), done: make(chan struct{})}
	source, told := cfg.listen(m.hint)
	m.source = source
	if m.cfg.Every <= 0 {
		m.cfg.Every = pollEvery
		if told {
			m.cfg.Every = watchEvery
		}
	}
	t := newTracker(m.cfg.Every, m.look(), time.Now())
	m.wg.Go(func() { m.run(t) })
	return m
}

func (m *Monitor) look() view {
	v := view{addrs: slices.Clone(m.cfg.Addrs())}
	slices.SortFunc(v.addrs, netip.Addr.Compare)
	v.v4, v.v6 = m.cfg.routes()
	return v
}

// hint leaves a hint for the loop. Hints that were not taken yet are put together.
func (m *Monitor) hint(h hint) {
	for {
		select {
		case m.hints <- h:
			return
		default:
		}
		select {
		case old := <-m.hints:
			h.rerouted = h.rerouted || old.rerouted
		default:
		}
	}
}

func (m *Monitor) run(t *tracker) {
	timer := time.NewTimer(t.wait(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-m.done:
			return
		case h := <-m.hints:
			t.hint(h, time.Now())
		case <-timer.C:
		}
		if now := time.Now(); t.wait(now) <= 0 {
			if c, ok := t.look(m.look(), now); ok {
				m.cfg.OnChange(c)
			}
		}
		timer.Reset(max(0, t.wait(time.Now())))
	}
}

// Close stops the monitor and waits for a call of OnChange to return. It must
// not be called from OnChange.
func (m *Monitor) Close() error {
	m.once.Do(func() {
		close(m.done)
		if m.source != nil {
			m.source.Close()
		}
	})
	m.wg.Wait()
	return nil
}
