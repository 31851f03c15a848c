//go:build linux

package lab

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

const socketTimeout = 5 * time.Second

var (
	rendezvousAddr = netip.MustParseAddr("20.0.113.1")
	otherAddr      = netip.MustParseAddr("20.0.113.2")
	aliceOutside   = netip.MustParseAddr("20.0.114.1")
	bobOutside     = netip.MustParseAddr("20.0.115.1")
	aliceInside    = netip.MustParsePrefix("192.168.1.10/24")
	bobInside      = netip.MustParsePrefix("192.168.2.20/24")
)

// TestNATs checks that the routers do what their names say, before anything is
// concluded from the program's behaviour behind them.
func TestNATs(t *testing.T) {
	needLab(t)
	tests := []struct {
		nat           nat
		sameToAll     bool // one mapping for all destinations
		preserved     bool // outside port = inside port
		openToAll     bool // another port of whom was written to may write
		keptIfKnocked bool // an earlier unasked packet does not move the mapping
	}{
		{portPreserving, true, true, false, true},
		{portPreservingOpen, true, true, false, false},
		{random, false, false, false, true},
		{fullCone, true, true, true, true},
		{addressRestricted, true, true, true, true}, // other ports of whom was written to may write
		{carrierBlock, false, false, false, true},
		{sequential, false, false, false, true},
	}
	for _, tt := range tests {
		t.Run(string(tt.nat), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, weather{})
			servers := w.public("servers", rendezvousAddr, otherAddr)
			host := w.home("host", aliceOutside, aliceInside, tt.nat)
			server := w.listen(servers, rendezvousAddr, 1000)
			otherPort := w.listen(servers, rendezvousAddr, 1001)
			other := w.listen(servers, otherAddr, 1000)

			client := w.listen(host, aliceInside.Addr(), 5000)
			client.send("one", server.local)
			first := server.want("one")
			client.send("two", other.local)
			second := other.want("two")
			if same := first == second; same != tt.sameToAll {
				t.Errorf("seen as %v and as %v", first, second)
			}
			if preserved := first.Port() == 5000; preserved != tt.preserved {
				t.Errorf("port 5000 is seen as %d", first.Port())
			}
			if first.Addr() != aliceOutside || second.Addr() != aliceOutside {
				t.Errorf("addresses %v and %v, not the router's", first, second)
			}

			// The internet keeps the order: the answer comes after the packet nobody asked for.
			otherPort.send("unasked", first)
			server.send("answer", first)
			if tt.openToAll {
				client.want("unasked")
			}
			client.want("answer")

			late := w.listen(host, aliceInside.Addr(), 5001)
			server.send("knock", netip.AddrPortFrom(aliceOutside, 5001))
			server.send("behind the knock", first)
			client.want("behind the knock") // so the knock has been there
			late.send("three", server.local)
			if kept := server.want("three").Port() == 5001; kept != (tt.keptIfKnocked && tt.preserved) {
				t.Errorf("after a knock from outside, port 5001 is kept: %v", kept)
			}
		})
	}
}

// TestInternet checks that delay and loss are what they should be.
func TestInternet(t *testing.T) {
	needLab(t)
	t.Parallel()
	const delay, loss, bursts, burst = 20 * time.Millisecond, 0.1, 20, 100
	w := newWorld(t, weather{delay: delay, loss: loss})
	a := w.listen(w.public("a", aliceOutside), aliceOutside, 1000)
	b := w.listen(w.public("b", bobOutside), bobOutside, 1000)
	got := 0
	for range bursts { // not more at a time than the sockets hold
		start := time.Now()
		for range burst {
			b.send("x", a.local)
		}
		for first := true; a.next(4*delay) == nil; first = false {
			got++
			if took := time.Since(start); first && took < delay {
				t.Errorf("a packet came after %v", took)
			}
		}
	}
	// Five standard deviations of a binomial distribution: 67 packets.
	if want := bursts * burst * 9 / 10; got < want-67 || got > want+67 {
		t.Errorf("%d of %d packets arrived at %v loss (%v)", got, bursts*burst, loss, w.net)
	}
}

// socket is a UDP socket in a namespace.
type socket struct {
	t     *testing.T
	conn  *net.UDPConn
	local netip.AddrPort
}

func (w *world) listen(s *space, addr netip.Addr, port uint16) *socket {
	w.t.Helper()
	out := &socket{t: w.t, local: netip.AddrPortFrom(addr, port)}
	w.must(s.do(func() (err error) {
		out.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(out.local))
		return err
	}))
	w.t.Cleanup(func() { out.conn.Close() })
	return out
}

func (s *socket) send(text string, to netip.AddrPort) {
	s.t.Helper()
	if _, err := s.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		s.t.Fatal(err)
	}
}

// next takes one packet, whatever it is.
func (s *socket) next(within time.Duration) error {
	s.conn.SetReadDeadline(time.Now().Add(within))
	_, _, err := s.conn.ReadFromUDPAddrPort(make([]byte, 64))
	return err
}

// want waits for the next packet, which must be this one, and returns where it
// came from.
func (s *socket) want(text string) netip.AddrPort {
	s.t.Helper()
	buf := make([]byte, 64)
	s.conn.SetReadDeadline(time.Now().Add(socketTimeout))
	n, from, err := s.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		s.t.Fatalf("waiting for %q at %v: %v", text, s.local, err)
	}
	if string(buf[:n]) != text {
		s.t.Fatalf("got %q from %v at %v, want %q", buf[:n], from, s.local, text)
	}
	return from
}
