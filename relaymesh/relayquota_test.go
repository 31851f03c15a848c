package relaymesh

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

func TestNetworksOfAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:7:8::1": "2001:db8:7::/48", "fe80::1%eth0": "fe80::/48",
	} {
		if got := network(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestCircuitsPerPeerAndNetwork(t *testing.T) {
	q := newRelayQuota(3)
	q.perPeer = 2
	home, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	want := func(code RefuseCode, peer uint8, net netip.Prefix) {
		t.Helper()
		if got := q.begin(kcptransport.PeerID{peer}, net); got != code {
			t.Errorf("peer %d: %d, want %d", peer, got, code)
		}
	}
	want(0, 1, home)
	want(0, 1, home)
	want(RefusedBusy, 1, home)
	want(0, 2, home)
	want(RefusedBusy, 3, home) // many keys in one network are of no use
	want(0, 3, other)
	q.end(kcptransport.PeerID{1}, home)
	want(0, 3, home)
	for _, e := range []struct {
		peer uint8
		net  netip.Prefix
	}{{1, home}, {2, home}, {3, home}, {3, other}} {
		q.end(kcptransport.PeerID{e.peer}, e.net)
	}
	if len(q.peers) != 0 || len(q.networks) != 0 {
		t.Errorf("left: %v, %v", q.peers, q.networks)
	}
}

func TestAskingTooMuch(t *testing.T) {
	q, now := newRelayQuota(0), time.Unix(1e9, 0)
	for i := range asksBurst {
		if code := q.ask(now, kcptransport.PeerID{1}); code != 0 {
			t.Fatalf("request %d: %d", i, code)
		}
	}
	if q.ask(now, kcptransport.PeerID{1}) != RefusedRate || q.ask(now, kcptransport.PeerID{2}) != 0 {
		t.Error("one peer may ask for ever, or another one suffers")
	}
	if q.ask(now.Add(time.Second), kcptransport.PeerID{1}) != 0 {
		t.Error("a second later it may not ask again")
	}
}

// Each ban lasts twice as long as the last one; after an hour without anything all is forgotten.
func TestBansGrow(t *testing.T) {
	q, now, peer := newRelayQuota(0), time.Unix(1e9, 0), kcptransport.PeerID{1}
	offend := func() {
		for range banAfter - 1 {
			q.nonsense(now, peer)
		}
		if q.ask(now, peer) != 0 {
			t.Error("banned too early")
		}
		q.nonsense(now, peer)
	}
	for _, d := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		offend()
		if q.ask(now.Add(d-1), peer) != RefusedRate || q.ask(now.Add(d), peer) != 0 {
			t.Errorf("the ban does not last %v", d)
		}
		now = now.Add(d)
	}
	now = now.Add(banForget + time.Second)
	offend()
	if q.ask(now.Add(banFirst), peer) != 0 {
		t.Error("nothing is forgotten")
	}
	for i := range 2 * banPeers {
		q.nonsense(now, kcptransport.PeerID{2, byte(i), byte(i >> 8)})
	}
	if len(q.offenders) > banPeers {
		t.Errorf("%d offenders are kept in mind", len(q.offenders))
	}
	now = now.Add(2 * banForget)
	q.nonsense(now, kcptransport.PeerID{3})
	if len(q.offenders) != 1 {
		t.Errorf("%d offenders are kept in mind", len(q.offenders))
	}
}

// Who is refused all the time and goes on asking is banned; who asks for much at once, or slows down, is not.
func TestFloodsAreBanned(t *testing.T) {
	start := time.Unix(1e9, 0)
	flood := func(q *relayQuota, now time.Time, peer kcptransport.PeerID, perSecond, seconds int) (end time.Time) {
		for i := range perSecond * seconds {
			at := now.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			if q.ask(at, peer) != 0 {
				q.flood(at, peer)
			}
		}
		return now.Add(time.Duration(seconds) * time.Second)
	}
	for _, c := range []struct {
		what   string
		ask    func(q *relayQuota, peer kcptransport.PeerID) time.Time
		banned bool
	}{
		{"ten thousand at once", func(q *relayQuota, peer kcptransport.PeerID) time.Time { return flood(q, start, peer, 10000, 1) }, false},
		{"a thousand at once, every minute, for hours", func(q *relayQuota, peer kcptransport.PeerID) time.Time {
			for i := range 3 * 60 {
				flood(q, start.Add(time.Duration(i)*time.Minute), peer, 1000, 1)
			}
			return start.Add(3 * time.Hour)
		}, false},
		{"more than the rate, a little, for ever", func(q *relayQuota, peer kcptransport.PeerID) time.Time { return flood(q, start, peer, 40, 3600) }, false},
		{"a flood that ends", func(q *relayQuota, peer kcptransport.PeerID) time.Time {
			return flood(q, start, peer, 500, floodTime-1)
		}, false},
		{"a flood", func(q *relayQuota, peer kcptransport.PeerID) time.Time {
			return flood(q, start, peer, 500, floodTime+5)
		}, true},
	} {
		q, peer := newRelayQuota(0), kcptransport.PeerID{1}
		now := c.ask(q, peer)
		if q.banned(now, peer) != c.banned || q.banned(now, kcptransport.PeerID{2}) {
			t.Errorf("%s: banned: %v", c.what, !c.banned)
		}
	}

	q, peer := newRelayQuota(0), kcptransport.PeerID{1}
	now := start
	for _, most := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		began := now
		for !q.banned(now, peer) {
			now = flood(q, now, peer, 500, 1)
			if now.Sub(began) > time.Minute {
				t.Fatal("never banned")
			}
		}
		if until := q.offenders[peer].until; until.Sub(now) > most || until.Sub(now) < most-2*time.Second {
			t.Errorf("banned for %v, want %v", until.Sub(now), most)
		}
		now = flood(q, now, peer, 500, int(most/time.Second)+1) // what it asks meanwhile does not make it longer
		if q.banned(now, peer) {
			t.Error("it is banned for longer")
		}
	}
}

// Only a peer's own requests count: a relay that passes on those of a crowd is not to blame.
func TestRelaysAreNotBannedForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 2, nil)
		defer c.close()
		relay, from := c.relays[c.ids[2]], c.ids[1]
		ask := func(passed ...kcptransport.PeerID) {
			mine, theirs := pipe(KindCircuit, 64<<10)
			if _, err := mine.Write(ask{target: peerNumber(200), label: 7, passed: passed}.frame()); err != nil {
				t.Fatal(err)
			}
			_ = relay.Serve(c.ctx, from, theirs)
			mine.Close()
		}
		banned := func() bool { return relay.quota.banned(time.Now(), from) }
		flood := func(passed ...kcptransport.PeerID) {
			for range asksBurst {
				ask(passed...)
			}
			for range floodTime + 5 {
				for range floodRate + 2*asksPerSecond {
					ask(passed...)
				}
				time.Sleep(time.Second)
			}
		}
		if flood(c.ids[0], from); banned() {
			t.Error("a relay is banned for what others ask of it")
		}
		if flood(); !banned() {
			t.Error("a peer that goes on asking is not banned")
		}
	})
}

// A peer whose requests make no sense gets nothing for a while, not even with one that does.
func TestRelayBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, nil)
		defer c.close()
		for range banAfter {
			_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11, c.ids[1])
			wantRefused(t, err, RefusedRequest)
		}
		_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11)
		wantRefused(t, err, RefusedRate)
		time.Sleep(banFirst)
		a, b := c.circuit()
		a.Close()
		b.Close()
	})
}

// Neighbours count with the network where they are, not with that of the address that packets to them go to: those that come by
// connections are in one network by that.
func TestNetworksOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := netip.MustParseAddr("192.0.2.7")
		c := newChain(t, 1, func(cfg *RelayConfig) {
			cfg.PerNetwork = 1
			cfg.Where = func(Neighbor) netip.Addr { return home }
		})
		defer c.close()
		a, b := c.circuit()
		if q := c.relays[c.ids[1]].quota; q.networks[network(home)] != 1 {
			t.Errorf("counted: %v", q.networks)
		}
		_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 12)
		wantRefused(t, err, RefusedBusy)
		home = netip.MustParseAddr("198.51.100.7")
		r, err := Reserve(c.ctx, c.ids[1], c.opener())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.relays[c.ids[1]].reserved.networks; got[network(home)] != 1 {
			t.Errorf("counted: %v", got)
		}
		r.stream.Close()
		a.Close()
		b.Close()
	})
}
