package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// aloneConn is the socket of a relay. Before each batch that the relay reads it sends one, and takes in what the relay made of the
// last one, on the relay's own thread: what the relay costs is the thread's time without that, whatever else runs on the machine.
type aloneConn struct {
	*udp.Conn
	from  *udp.Conn
	to    []*udp.Conn
	bufs  [][]byte
	addrs []netip.AddrPort

	sink    [][]byte // for what arrives
	sizes   []int
	senders []netip.AddrPort

	rounds, left int
	began, load  time.Duration
	took         time.Duration
	once         sync.Once
	ended        chan struct{}
}

func newAloneConn(tb testing.TB, l load, rounds int) *aloneConn {
	tb.Helper()
	open := func() *udp.Conn {
		c, err := udp.Listen("127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = c.Close() })
		return c
	}
	a := &aloneConn{Conn: open(), from: open(), rounds: rounds, left: rounds, ended: make(chan struct{})}
	a.sink, a.sizes, a.senders = batchBuffers()
	for range l.circuits {
		a.to = append(a.to, open())
	}
	for range loadBatch {
		b := make([]byte, l.size)
		b[0] = relayedType
		a.bufs, a.addrs = append(a.bufs, b), append(a.addrs, addrOf(a.Conn))
	}
	return a
}

func addrOf(c *udp.Conn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// setLabels puts labels on the packets, in turns.
func (a *aloneConn) setLabels(labels []uint32) {
	for i, b := range a.bufs {
		binary.BigEndian.PutUint32(b[1:], labels[i%len(labels)])
	}
}

// ReadBatch implements kcptransport.PacketConn.
func (a *aloneConn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	if err := a.exchange(); err != nil {
		return 0, err
	}
	return a.Conn.ReadBatch(bufs, sizes, addrs)
}

// ReadViews is ReadBatch without a copy.
func (a *aloneConn) ReadViews(views [][]byte, addrs []netip.AddrPort) (int, error) {
	if err := a.exchange(); err != nil {
		return 0, err
	}
	return a.Conn.ReadViews(views, addrs)
}

// exchange takes in a batch and sends the next.
func (a *aloneConn) exchange() error {
	if a.left == a.rounds {
		runtime.LockOSThread() // until the goroutine ends
		a.began = threadTime()
	}
	start := threadTime()
	if a.left < a.rounds {
		if err := a.takeIn(); err != nil {
			return err
		}
	}
	if a.left == 0 {
		a.once.Do(func() {
			a.took = start - a.began - a.load
			close(a.ended)
		})
		return net.ErrClosed
	}
	a.left--
	if _, err := a.from.WriteBatch(a.bufs, a.addrs); err != nil {
		return err
	}
	a.load += threadTime() - start
	return nil
}

// takeIn reads the packets of a batch where they went.
func (a *aloneConn) takeIn() error {
	for i, c := range a.to {
		for want := (loadBatch + len(a.to) - 1 - i) / len(a.to); want > 0; {
			n, err := c.ReadBatch(a.sink, a.sizes, a.senders)
			if err != nil {
				return err
			}
			want -= n
		}
	}
	return nil
}

func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // never fails
	return time.Duration(t.Nano())
}

// aloneHop is a neighbour at one address.
type aloneHop struct {
	id   kcptransport.PeerID
	addr netip.AddrPort
}

func (h *aloneHop) Peer() kcptransport.PeerID      { return h.id }
func (h *aloneHop) Addr() netip.AddrPort           { return h.addr }
func (h *aloneHop) From(other netip.AddrPort) bool { return other == h.addr }

// runXPPG has an endpoint with a switch carry everything.
func (a *aloneConn) runXPPG(tb testing.TB) {
	sw, err := relaymesh.NewSwitch(relaymesh.SwitchConfig{Write: a.WriteBatch})
	if err != nil {
		tb.Fatal(err)
	}
	var labels []uint32
	first := &aloneHop{kcptransport.PeerID{1}, addrOf(a.from)}
	for i, c := range a.to {
		circuit, err := sw.Connect(first, &aloneHop{kcptransport.PeerID{2, byte(i)}, addrOf(c)}, relaymesh.Limits{})
		if err != nil {
			tb.Fatal(err)
		}
		circuit.SetRemote(relaymesh.SideB, farLabel)
		labels = append(labels, circuit.LabelFor(relaymesh.SideA))
	}
	a.setLabels(labels)
	id, err := kcptransport.NewIdentity(nil)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := kcptransport.Listen(kcptransport.Config{Conn: a, Identity: id, App: "bench", Forwarder: sw})
	if err != nil {
		tb.Fatal(err)
	}
	<-a.ended
	_ = e.Close()
}

// runBare has the bare forwarder do it.
func (a *aloneConn) runBare(testing.TB) {
	var labels []uint32
	var to []netip.AddrPort
	for i, c := range a.to {
		labels, to = append(labels, uint32(i)), append(to, addrOf(c))
	}
	a.setLabels(labels)
	go carryBare(a, to)
	<-a.ended
}

// What a relay's thread computes for a packet, in full batches: xppg's and the bare forwarder. With GOMAXPROCS=1 it is all that the
// process does.
func BenchmarkForward(b *testing.B) {
	for _, l := range []load{{1200, 1}, {100, 1}, {1200, 20}, {100, 20}} {
		for name, run := range map[string]func(*aloneConn, testing.TB){"xppg": (*aloneConn).runXPPG, "bare": (*aloneConn).runBare} {
			b.Run(fmt.Sprintf("circuits=%d/size=%d/%s", l.circuits, l.size, name), func(b *testing.B) {
				a := newAloneConn(b, l, b.N)
				run(a, b)
				b.ReportMetric(float64(a.took.Nanoseconds())/float64(b.N)/loadBatch, "cpu-ns/packet")
			})
		}
	}
}
