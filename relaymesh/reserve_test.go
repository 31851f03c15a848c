package relaymesh

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// reserve has a peer of the chain hold a reservation with the first relay, until stop; what ended it comes by ended, after which r may
// be read.
func (c *chain) reserve(peer int) (r *Reservation, told Limits, stop func(), ended chan error) {
	c.t.Helper()
	opener := OpenerFunc(func(_ context.Context, kind string) (Stream, error) { return c.open(c.ids[peer], c.ids[1], kind) })
	r, err := Reserve(c.ctx, c.ids[1], opener)
	if err != nil {
		c.t.Fatal(err)
	}
	told = r.Limits
	ctx, stop := context.WithCancel(c.ctx)
	ended = make(chan error, 1)
	c.wg.Go(func() { ended <- r.Keep(ctx) })
	return r, told, stop, ended
}

// A reservation tells the limits, is renewed at half time for as long as it is wanted, and is given back.
func TestReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, func(cfg *RelayConfig) { cfg.Limits = Limits{BytesPerSecond: 1e6, Bytes: 1e9, Duration: time.Hour} })
		defer c.close()
		relay := c.relays[c.ids[1]]
		r, told, stop, ended := c.reserve(2)
		if want := (Limits{BytesPerSecond: 1e6, Bytes: 1e9, Duration: time.Hour, Circuits: circuitsPerPeer}); told != want {
			t.Errorf("told %+v, want %+v", told, want)
		}
		begun := time.Now()
		time.Sleep(10*reservationTime + time.Minute)
		if n := relay.Stats().Reservations; n != 1 {
			t.Errorf("%d reservations", n)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if r.Renewed.Sub(begun) != 10*reservationTime {
			t.Errorf("renewed last after %v", r.Renewed.Sub(begun))
		}
		synctest.Wait()
		if n := relay.Stats().Reservations; n != 0 || len(relay.reserved.peers)+len(relay.reserved.networks) != 0 {
			t.Errorf("%d reservations are left, %+v", n, relay.reserved)
		}
	})
}

// Who does not renew has none any more.
func TestReservationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, nil)
		defer c.close()
		opener := OpenerFunc(func(_ context.Context, kind string) (Stream, error) { return c.open(c.ids[2], c.ids[1], kind) })
		if _, err := Reserve(c.ctx, c.ids[1], opener); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reservationTime)
		if n := c.relays[c.ids[1]].Stats().Reservations; n != 1 {
			t.Error("it ended early")
		}
		time.Sleep(reservationGrace + time.Second)
		if n := c.relays[c.ids[1]].Stats().Reservations; n != 0 {
			t.Error("it never ends")
		}
	})
}

// A relay that drains, and one whose operator does not admit a peer any more, say so to those who hold reservations.
func TestReservationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admit := true
		c := newChain(t, 1, func(cfg *RelayConfig) { cfg.Admit = func(Neighbor) bool { return admit } })
		defer c.close()
		relay := c.relays[c.ids[1]]
		_, _, _, ended := c.reserve(2)
		admit = false
		relay.Recheck()
		wantRefused(t, <-ended, RefusedDenied)
		admit = true
		_, _, _, ended = c.reserve(2)
		relay.Drain(c.ctx)
		wantRefused(t, <-ended, RefusedClosing)
		_, err := Reserve(c.ctx, c.ids[1], OpenerFunc(func(_ context.Context, kind string) (Stream, error) { return c.open(c.ids[2], c.ids[1], kind) }))
		wantRefused(t, err, RefusedClosing)
	})
}

// There are so many for a peer, a network and in all, and few circuits to who has none.
func TestReservationQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, func(cfg *RelayConfig) {
			cfg.Reservations, cfg.Limits.Circuits = 3, 20
			cfg.Neighbor = func(peer kcptransport.PeerID) (Neighbor, bool) { return testNeighbor(peer), true }
		})
		defer c.close()
		relay := c.relays[c.ids[1]]
		c.reserve(0)
		c.reserve(0)
		_, err := Reserve(c.ctx, c.ids[1], c.opener())
		wantRefused(t, err, RefusedBusy)
		if !strings.Contains(err.Error(), "too many reservations at once") {
			t.Error(err)
		}
		for i := range circuitsUnasked {
			c.circuitOf(peerNumber(100 + i))
		}
		_, err = OpenCircuit(c.ctx, c.opener(), c.target(), 11)
		wantRefused(t, err, RefusedUnreserved)
		_, _, stop, ended := c.reserve(2)
		for i := range 20 - circuitsUnasked {
			c.circuitOf(peerNumber(120 + i))
		}
		_, err = OpenCircuit(c.ctx, c.opener(), c.target(), 11)
		wantRefused(t, err, RefusedBusy)
		stop()
		<-ended
		synctest.Wait()
		if got := relay.Stats().Reservations; got != 2 {
			t.Errorf("%d reservations", got)
		}
	})
}

// However many circuits one peer, or one network, asks for to a target, others reach it, too.
func TestNobodyHasAllCircuitsToATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, func(cfg *RelayConfig) {
			cfg.Neighbor = func(peer kcptransport.PeerID) (Neighbor, bool) { return testNeighbor(peer), true }
		})
		defer c.close()
		relay := c.relays[c.ids[1]]
		fill := func(n int) (held []*Circuit) {
			t.Helper()
			for range n {
				a, _ := c.circuit()
				held = append(held, a)
			}
			_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11)
			wantRefused(t, err, RefusedBusy)
			a, _ := c.circuitOf(peerNumber(100))
			return append(held, a)
		}
		for _, n := range []int{unaskedToOne, circuitsToOne} { // without and with a reservation
			for _, a := range fill(n) {
				a.Close()
			}
			synctest.Wait()
			if r := relay.reserved; len(r.targets)+len(r.origins)+len(r.askers)+len(r.askingNets) != 0 {
				t.Errorf("left: %+v", r)
			}
			c.reserve(2)
		}
		a, _ := c.circuit()
		a.Close()
	})
}

// Many keys of one network, and a relay that tells as many, do not have all either.
func TestNoNetworkHasAllCircuitsToATarget(t *testing.T) {
	home, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48")
	for name, by := range map[string]func(n int) kcptransport.PeerID{
		"keys":  func(n int) kcptransport.PeerID { return kcptransport.PeerID{2, byte(n)} },
		"relay": func(int) kcptransport.PeerID { return kcptransport.PeerID{9} },
	} {
		r, target := newReserved(0), kcptransport.PeerID{1}
		r.begin(target, other)
		n := 0
		for r.reach(kcptransport.PeerID{2, byte(n)}, by(n), home, target, circuitsPerPeer) == 0 {
			n++
		}
		if n != netCircuitsToOne || n >= circuitsPerPeer {
			t.Errorf("%s of one network: %d circuits", name, n)
		}
		if code := r.reach(kcptransport.PeerID{3}, kcptransport.PeerID{8}, other, target, circuitsPerPeer); code != 0 {
			t.Errorf("%s: another network is refused: %d", name, code)
		}
		if code := r.reach(kcptransport.PeerID{2}, by(0), home, kcptransport.PeerID{4}, circuitsPerPeer); code != 0 {
			t.Errorf("%s: another target is refused: %d", name, code)
		}
	}
}

// Who claims to ask for others uses up nothing of theirs, with a reservation and without.
func TestClaimedAskers(t *testing.T) {
	for _, reserved := range []bool{false, true} {
		r, target := newReserved(0), kcptransport.PeerID{1}
		home, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
		if reserved {
			r.begin(target, other)
		}
		for n := range circuitsPerPeer {
			victim, hostile := kcptransport.PeerID{2, byte(n % 8)}, kcptransport.PeerID{3}
			r.reach(victim, hostile, home, target, circuitsPerPeer)
		}
		if code := r.reach(kcptransport.PeerID{2}, kcptransport.PeerID{2}, other, target, circuitsPerPeer); code != 0 {
			t.Errorf("reserved: %v; who was claimed is refused: %d", reserved, code)
		}
	}
}
