package api

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/punch"
)

const (
	dialBackEvery    = 5 * time.Minute  // that what is believed is tested anew
	dialBackRetry    = 30 * time.Second // that it is tested while nothing is known, or the last test failed
	dialBackSeldom   = 6 * time.Hour    // the same of a node that relays always or never: all that depends on it is how quiet its idle links are
	dialBackFailures = 2                // tests in a row in which nothing comes, before a node that was reached no longer believes it is
)

// proveReachable finds out, now and then and after changes, whether others can reach this node: in automatic mode by IPv4 and
// by IPv6, otherwise by what it believes already, because others have opened links, so that it stops believing that in time.
func (pg *Playground) proveReachable() {
	for tests := (reachTests{}); ; {
		t := time.NewTimer(pg.testReach(&tests))
		select {
		case <-pg.ctx.Done():
			t.Stop()
			return
		case <-pg.proveWake:
			t.Stop()
		case <-t.C:
		}
	}
}

// testReach does a round of tests, and returns how long to wait before the next.
func (pg *Playground) testReach(tests *reachTests) time.Duration {
	var proven, silent families
	believed := pg.reachedOver()
	for _, addr := range pg.publicAddrs() {
		f := family(addr.Addr())
		if proven[f] || pg.cfg.Relay != RelayAuto && !believed[f] {
			continue
		}
		switch err := pg.reachableAt(pg.ctx, addr); {
		case err == nil:
			proven[f] = true
			pg.setReachable(addr.Addr())
		case errors.Is(err, errNothingCame):
			silent[f] = true
		}
	}
	doubtful := false
	for f, lost := range tests.note(proven, silent) {
		if lost {
			pg.notReachable(f)
		}
		doubtful = doubtful || silent[f] && !proven[f] && believed[f] && !lost
	}
	switch {
	case doubtful || pg.cfg.Relay == RelayAuto && !pg.reachable.Load():
		return dialBackRetry
	case pg.cfg.Relay == RelayAuto:
		return dialBackEvery
	}
	return dialBackSeldom
}

// families is something that is so for IPv4, for IPv6, or for both.
type families [2]bool

// family returns which of the two an address is of.
func family(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// reachTests counts the tests in a row in which nothing came, by IPv4 and by IPv6.
type reachTests [2]int

// note takes in a round of tests: by which of the two something came, and by which nothing did although it was sent. It returns by
// which others do not reach us any more.
func (r *reachTests) note(proven, silent families) (lost families) {
	for f := range r {
		switch {
		case proven[f]:
			r[f] = 0
		case silent[f]:
			r[f]++
			lost[f] = r[f] >= dialBackFailures
		}
	}
	return lost
}

// publicAddrs returns those of our addresses that others may reach, if anything.
func (pg *Playground) publicAddrs() (out []netip.AddrPort) {
	for _, a := range pg.Addrs() {
		if !punch.Private(a.Addr()) && len(out) < 4 {
			out = append(out, a)
		}
	}
	return out
}

// setReachable records that others have reached us from outside, without our doing, by IPv4 or IPv6 as at is.
func (pg *Playground) setReachable(at netip.Addr) {
	addrs := pg.ownPublicAddrs()
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if !slices.Equal(addrs, pg.reachedAt) {
		pg.reachedAt, pg.reachedBy = addrs, families{}
	}
	pg.reachedBy[family(at)] = true
	if !pg.reachable.Swap(true) {
		pg.wakeMesh()
	}
}

// reachedOver returns by which of IPv4 and IPv6 others are believed to reach us.
func (pg *Playground) reachedOver() families {
	if !pg.reachable.Load() {
		return families{}
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return pg.reachedBy
}

// notReachable records that others do not reach us by IPv4, or by IPv6, any more.
func (pg *Playground) notReachable(family int) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.reachedBy[family] = false
	if pg.reachedBy == (families{}) && pg.reachable.Swap(false) {
		pg.wakeMesh()
	}
}

// forgetReached has it proven anew that others reach us.
func (pg *Playground) forgetReached() {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.reachedBy = families{}
	pg.reachable.Store(false)
}

// ownPublicAddrs returns the public addresses that this machine has itself, without those of NATs.
func (pg *Playground) ownPublicAddrs() []netip.Addr {
	return slices.DeleteFunc(pg.localAddrs(), punch.Private)
}

// stillReachable reports whether a node that others have reached need not doubt it after a change of the network: it was
// reached at addresses of its own, and has them still. There may be nobody who could prove it anew: whoever has a link to that
// address cannot.
func (pg *Playground) stillReachable() bool {
	addrs := pg.ownPublicAddrs()
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return len(addrs) > 0 && slices.Equal(addrs, pg.reachedAt)
}
