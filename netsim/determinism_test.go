package netsim

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// bad is a link with everything that is left to chance.
var bad = Link{
	Delay: 7 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.05, Burst: 2, Rate: 200_000, Queue: 200,
	Reorder: 0.05, ReorderBy: 20 * time.Millisecond, Duplicate: 0.03, Corrupt: 0.03,
}

// echo answers every packet, in the batches in which they come, a byte longer each time.
func echo(c *Conn) {
	const batch = 8
	bufs, sizes, addrs := make([][]byte, batch), make([]int, batch), make([]netip.AddrPort, batch)
	for i := range bufs {
		bufs[i] = make([]byte, 300)
	}
	for {
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			return
		}
		out := make([][]byte, n)
		for i := range n {
			// Who is in a batch with whom is part of the outcome.
			out[i] = append(bufs[i][:min(sizes[i], 250)], byte(n))
		}
		_, _ = c.WriteBatch(out, addrs[:n])
	}
}

// scenario has eight sockets behind four NATs, two of them behind a fifth,
// chatter with a server and with each other over bad links, in goroutines that
// race each other at every instant, while the network changes under them. It
// returns the digest.
func scenario(t *testing.T, seed uint64) (digest uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		serverHost := w.public("server", "2.0.0.1", bad)
		server := w.listen(serverHost, 1)
		go echo(server)
		carrier := w.NewSegment("carrier")
		w.router("carrier", w.Internet(), "1.0.1.1", carrier, NAT{Ports: RandomPorts, Hairpin: HairpinExternal})
		var hosts []*Host
		var routers []*Router
		for i := range 4 {
			outside, public := w.Internet(), fmt.Sprintf("1.0.0.%d", i+1)
			if i%2 == 1 {
				outside, public = carrier, fmt.Sprintf("100.64.0.%d", i+1)
			}
			home := w.NewSegment(fmt.Sprint(i))
			routers = append(routers, w.router(fmt.Sprint(i), outside, public, home, NAT{
				Mapping: Behaviour(i % 3), Filtering: Behaviour((i + 1) % 3), Ports: PortAllocation(i / 2), Timeout: 300 * time.Millisecond,
			}))
			hosts = append(hosts, w.NewHost(fmt.Sprint(i), home, bad, addr("192.168.1.2"), addr(fmt.Sprintf("2001:db8:%d::2", i+1))))
		}
		for i, h := range hosts {
			for j := range 2 {
				c := w.listen(h, uint16(5000+j))
				go echo(c)
				go func() {
					for k := range 13 {
						_, _ = c.WriteToUDPAddrPort(fmt.Append(nil, "hello ", i, j, k), addrPort("2.0.0.1:1"))
						_, _ = c.WriteToUDPAddrPort(fmt.Append(nil, "hello ", i, j, k), addrPort(fmt.Sprintf("[2001:db8:%d::2]:5001", (i+1)%4+1)))
						time.Sleep(100 * time.Millisecond)
					}
				}()
			}
		}
		// At the very instants at which the goroutines above write.
		for i, do := range []func(){
			routers[0].Rebind,
			func() { w.Partition(hosts[2], hosts[3]) },
			func() { hosts[1].SetLink(bad, Link{}) },
			func() { hosts[3].SetAddrs(addr("192.168.1.7")) },
			func() { w.Heal(hosts[2], hosts[3]) },
			func() { hosts[0].Move(w.Internet(), addr("1.0.0.9")) },
			serverHost.Pause,
			func() { w.PartitionOneWay(hosts[1], hosts[0]) },
			serverHost.Resume,
			func() { hosts[1].Unplug(50 * time.Millisecond) },
			func() { routers[2].Reboot(30 * time.Millisecond) },
			hosts[2].Crash,
		} {
			time.AfterFunc(time.Duration(i)*100*time.Millisecond, do)
		}
		time.Sleep(2 * time.Second)
		s := w.Stats()
		if s.Delivered < 300 || s.Duplicated == 0 || s.Dropped[DropCorrupt] == 0 || s.Dropped[DropLoss] == 0 || s.Dropped[DropQueue] == 0 || s.Dropped[DropFiltered]+s.Dropped[DropNoMapping] == 0 {
			t.Errorf("not much happens in this scenario: %+v", s)
		}
		digest = w.Digest()
		w.close()
	})
	return digest
}

func TestOneSeedOneOutcome(t *testing.T) {
	want := sameEachTime(t, 60, func() uint64 { return scenario(t, 1) })
	if scenario(t, 2) == want {
		t.Error("another seed gives the same digest")
	}
}

// sameEachTime plays a story once and then n times more, with one processor and with two, and returns its digest.
func sameEachTime(t *testing.T, n int, story func() uint64) uint64 {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	want := story()
	for i := range n {
		runtime.GOMAXPROCS(1 + i%2)
		if got := story(); got != want {
			t.Fatalf("run %d: digest %x, before it was %x", i, got, want)
		}
	}
	return want
}
