package kcptransport

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// slowLink is a link on which a transfer lasts long enough to be disturbed.
func slowLink(rtt time.Duration) netsim.Link {
	return netsim.Link{Delay: rtt / 4, Rate: 20_000_000}
}

// The peer's address changes in the middle of a transfer, in whichever direction it goes: the stream goes on.
func TestRoaming(t *testing.T) {
	for _, test := range []struct {
		name  string
		mover byte
		limit time.Duration // without data
	}{
		{"the sender moves", 1, 100*time.Millisecond + 100*time.Millisecond},
		{"the receiver moves", 2, 200*time.Millisecond + 200*time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			const rtt = 50 * time.Millisecond
			inWorld(t, rtt, func(w *world) {
				w.link = slowLink(rtt)
				a, b, l, m := w.pair()
				var changes pathLog
				l.OnPath(changes.add)
				m.OnPath(changes.add)
				tr := w.startTransfer(l, m, 8<<20)
				w.sleep(time.Second)
				mover, other, seen := a, b, m
				if test.mover == 2 {
					mover, other, seen = b, a, l
				}
				_ = other
				mover.host.SetAddrs(nodeAddr(test.mover, 1))
				start := time.Now()
				w.wantPath(seen, netip.AddrPortFrom(nodeAddr(test.mover, 1), 7337), time.Second)
				w.Logf("the new path is in use after %v", time.Since(start))
				if took := time.Since(start); took > test.limit {
					w.Errorf("the new path is in use after %v, want at most %v", took, test.limit)
				}
				tr.wait()
				w.Logf("%v for 8 MiB at 20 Mbit/s", tr.took)
				if tr.took > 4500*time.Millisecond {
					w.Errorf("the transfer took %v", tr.took)
				}
				w.sleep(time.Minute)
				if n := len(seen.Paths()); n != 1 {
					w.Errorf("the old path is still there: %v", seen.Paths())
				}
				if got := changes.len(); got != 3 { // the first on each side, and the move
					w.Errorf("paths changed %d times: %v", got, changes.list)
				}
			})
		})
	}
}

// pathLog notes what OnPath tells.
type pathLog struct {
	mu   sync.Mutex
	list []PathInfo
}

func (p *pathLog) add(i PathInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, i)
}

func (p *pathLog) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list)
}

// Both peers move at the same moment: nobody knows where the other one is until one of them asks; that is too much
// for a link alone. Moving one after the other, again and again, is not.
func TestRoamingAgainAndAgain(t *testing.T) {
	const rtt = 50 * time.Millisecond
	inWorld(t, rtt, func(w *world) {
		w.link = slowLink(rtt)
		a, b, l, m := w.pair()
		tr := w.startTransfer(l, m, 16<<20)
		for i := range byte(6) {
			w.sleep(900 * time.Millisecond)
			if i%2 == 0 {
				a.host.SetAddrs(nodeAddr(1, i+1))
			} else {
				b.host.SetAddrs(nodeAddr(2, i+1))
			}
		}
		tr.wait()
		w.Logf("%v for 16 MiB at 20 Mbit/s", tr.took)
		if tr.took > 10*time.Second {
			w.Errorf("the transfer took %v", tr.took)
		}
	})
}

// behindNAT puts node n behind a router with a NAT.
func (w *world) behindNAT(n byte, nat netsim.NAT) (*node, *netsim.Router) {
	w.Helper()
	home := w.net.NewSegment("home")
	r := w.net.NewRouter("router", netsim.RouterConfig{
		Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{nodeAddr(n, 0)},
		Inside: home,
		NAT:    nat, Link: w.link,
	})
	host := w.net.NewHost("inside", home, netsim.Link{}, netip.MustParseAddr("192.168.1.2"))
	return w.nodeOn(host, n), r
}

// The NAT of one side forgets its mappings in the middle of a transfer, or of one each way: delivery pauses for no more
// than two round trips and 100 ms in any direction. From outside nobody gets through to the new mapping until the side
// behind it has sent something.
func TestNATRebinding(t *testing.T) {
	for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		for _, ways := range []string{"up", "down", "up and down"} {
			t.Run(ways+" at "+rtt.String(), func(t *testing.T) {
				for i := range 2 { // at other moments of the transfer
					inWorld(t, rtt, func(w *world) { w.rebinding(rtt, ways, time.Second+10*rtt+time.Duration(i)*37*time.Millisecond) })
				}
			})
		}
	}
}

func (w *world) rebinding(rtt time.Duration, ways string, after time.Duration) {
	w.link = netsim.Link{Delay: rtt / 4, Rate: 10_000_000}
	b := w.node(2)
	a, router := w.behindNAT(1, netsim.NAT{Mapping: netsim.EndpointIndependent, Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts, Timeout: time.Minute})
	l := a.dial(b)
	m := b.accept()
	size := int((after + time.Second).Seconds() * 10e6 / 8)
	var transfers []*bulkTransfer
	if ways != "down" {
		transfers = append(transfers, w.startTransfer(l, m, size))
	}
	if ways != "up" {
		transfers = append(transfers, w.startTransfer(m, l, size))
	}
	w.sleep(after)
	before, _ := m.Path()
	trip := rtt
	if len(transfers) > 1 { // what they have queued on one line belongs to it
		trip = max(rtt, l.Stats().RTT, m.Stats().RTT)
	}
	router.Rebind()
	start := time.Now()
	for i, tr := range transfers {
		tr.wait()
		if gap, most := tr.gap(start), 2*trip+100*time.Millisecond; gap > most {
			w.Errorf("transfer %d of %d stood still for %v, want at most %v", i+1, len(transfers), gap, most)
		} else {
			w.Logf("transfer %d of %d stood still for %v, at most %v", i+1, len(transfers), gap, most)
		}
	}
	if now, _ := m.Path(); now.Path == before.Path {
		w.Error("the mapping did not change")
	}
}

// Keepalives hold the mapping of a NAT that forgets 30 s after what came from inside, whichever side it is on, whether
// packets are lost and however long they take: the node behind it can be called.
func TestKeepAliveHoldsMapping(t *testing.T) {
	nat := netsim.NAT{Mapping: netsim.EndpointIndependent, Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts, Timeout: 30 * time.Second}
	for _, inside := range []byte{1, 2} {
		for _, link := range []netsim.Link{{Delay: 12500 * time.Microsecond}, {Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.1}} {
			t.Run(fmt.Sprintf("node %d, %v", inside, link.Delay), func(t *testing.T) {
				inWorld(t, 0, func(w *world) {
					w.link = link
					b := w.node(3 - inside)
					a, _ := w.behindNAT(inside, nat)
					l := a.dial(b)
					m := b.accept()
					w.serveEcho(l)
					w.sleep(20 * time.Minute)
					w.wantEcho(m)
					if m.Stats().PathChanges != 1 {
						w.Errorf("the path changed %d times", m.Stats().PathChanges)
					}
				})
			})
		}
	}
}

// Peers with two addresses each: when the path in use dies, the other takes over, and when it comes back the link does
// not return to and fro.
func TestFallbackToOtherPath(t *testing.T) {
	const rtt = 50 * time.Millisecond
	inWorld(t, rtt, func(w *world) {
		w.link = slowLink(rtt)
		a, _ := w.dual(1)
		b, b6 := w.dual(2)
		l := a.dial(b)
		m := b.accept()
		l.Probe(Path{Addr: b6}, 0)
		w.sleep(time.Second)
		if len(l.Paths()) != 2 || len(m.Paths()) != 2 {
			w.Fatalf("paths are %v and %v", l.Paths(), m.Paths())
		}
		for range 20 { // as fast as the other: no reason to leave
			w.sleep(10 * time.Second)
			w.wantPath(l, b.addr(), 0)
		}
		tr := w.startTransfer(l, m, 8<<20)
		w.sleep(time.Second)
		four := b.host.Addrs()[0]
		b.host.SetAddrs(b6.Addr())
		start := time.Now()
		w.wantPath(l, b6, time.Second)
		w.Logf("the other path is in use after %v", time.Since(start))
		if took := time.Since(start); took > 350*time.Millisecond {
			w.Errorf("the other path is in use after %v", took)
		}
		w.sleep(1500 * time.Millisecond)
		b.host.SetAddrs(four, b6.Addr())
		tr.wait()
		w.Logf("%v for 8 MiB at 20 Mbit/s", tr.took)
		w.sleep(time.Minute)
		if n := l.Stats().PathChanges; n != 2 {
			w.Errorf("the path changed %d times", n)
		}
		if n := m.Stats().PathChanges; n != 2 {
			w.Errorf("the path of the other side changed %d times", n)
		}
	})
}

func TestPathRTT(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		w.serveEcho(m)
		w.wantEcho(l)
		w.sleep(time.Second)
		for _, l := range []*Link{l, m} {
			info, _ := l.Path()
			if info.RTT < 40*time.Millisecond || info.RTT > 41*time.Millisecond {
				w.Errorf("measured %v, want 40 ms", info.RTT)
			}
		}
	})
}

// Probes to a thousand addresses, as some NATs need, disturb nothing and leave nothing.
func TestManyProbes(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		w.serveEcho(m)
		for i := range uint16(3000) {
			l.Probe(Path{Addr: netip.AddrPortFrom(nodeAddr(200, 3), 1000+i)}, int(i%2)*3)
		}
		l.Probe(Path{}, 0)
		w.wantEcho(l)
		w.sleep(time.Minute)
		w.wantEcho(l)
		if n := len(l.Paths()); n != 1 {
			w.Errorf("%d paths", n)
		}
	})
}

// Ten minutes in which one side keeps moving and the network breaks again and again, never for as long as DeadAfter:
// nothing gets lost, the link stays.
func TestChaos(t *testing.T) {
	for seed := range uint64(5) {
		inSeededWorld(t, seed, 60*time.Millisecond, func(w *world) {
			random := rand.New(seeded(byte(seed + 100)))
			w.link = netsim.Link{Delay: 15 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: float64(seed%3) * 0.02, Rate: 5_000_000}
			a, b, l, m := w.pair()
			w.serveEcho(m)
			s := w.open(l, "echo")
			up := w.startTransfer(m, l, 2<<20)
			for start, i := time.Now(), byte(1); time.Since(start) < 10*time.Minute; i++ {
				w.sleep(time.Duration(5000+random.IntN(15_000)) * time.Millisecond)
				switch random.IntN(4) {
				case 0:
					a.host.SetAddrs(nodeAddr(1, i%100))
				case 1:
					w.net.Partition(a.host, b.host)
					w.sleep(time.Duration(random.IntN(25_000)) * time.Millisecond)
					w.net.Heal(a.host, b.host)
				case 2: // moves while nobody hears of it
					w.net.Partition(a.host, b.host)
					w.sleep(time.Duration(random.IntN(10_000)) * time.Millisecond)
					a.host.SetAddrs(nodeAddr(1, i%100))
					w.sleep(time.Duration(random.IntN(10_000)) * time.Millisecond)
					w.net.Heal(a.host, b.host)
				case 3:
					w.wantEchoOn(s, []byte("are you there?"))
				}
				if l.Err() != nil || m.Err() != nil {
					w.Fatalf("seed %d: the link ended after %v: %v, %v", seed, time.Since(start), l.Err(), m.Err())
				}
			}
			up.wait()
			w.wantEchoOn(s, []byte("still there"))
			w.sleep(time.Minute)
			if len(l.Paths()) != 1 || len(m.Paths()) != 1 {
				w.Errorf("seed %d: paths %v and %v", seed, l.Paths(), m.Paths())
			}
		})
	}
}
