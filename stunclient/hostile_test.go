package stunclient

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pion/stun/v2"
)

// wire is the spare sockets of a Prober, and whoever answers what they send.
type wire struct {
	respond func(request []byte, to netip.AddrPort) []packet // one call at a time

	mu   sync.Mutex
	sent map[netip.AddrPort]int
}

// open makes a Socket of a bubble: what is written is answered as the wire says.
func (w *wire) open() (Socket, error) {
	return &wireSocket{wire: w, arrived: make(chan packet, 100), closed: make(chan struct{})}, nil
}

type wireSocket struct {
	*wire
	arrived chan packet
	closed  chan struct{}
}

func (s *wireSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-s.arrived:
		return copy(b, p.payload), p.from, nil
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *wireSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[to]++
	for _, p := range s.respond(append([]byte(nil), b...), to) {
		select {
		case s.arrived <- p:
		default: // as a socket does whose buffer is full
		}
	}
	return len(b), nil
}

func (s *wireSocket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(local) }
func (s *wireSocket) Close() error        { close(s.closed); return nil }

// A server cannot make us send where it likes.
func TestOtherAddressOfHostileServers(t *testing.T) {
	for _, tt := range []struct {
		server, other string
		credible      bool
	}{
		{"192.0.2.1:3478", "192.0.2.2:3479", true},
		{"10.0.0.1:3478", "10.0.0.2:3479", true},
		{"127.0.0.1:3478", "127.0.0.2:3479", true},
		{"[2001:db8::1]:3478", "[2001:db8::2]:3479", true},
		{"192.0.2.1:3478", "192.0.2.1:3479", false},
		{"192.0.2.1:3478", "192.0.2.2:3478", false},
		{"192.0.2.1:3478", "127.0.0.1:3479", false},
		{"192.0.2.1:3478", "192.168.1.1:53", false},
		{"192.0.2.1:3478", "100.64.0.1:53", false},
		{"192.0.2.1:3478", "169.254.169.254:80", false},
		{"192.0.2.1:3478", "255.255.255.255:53", false},
		{"192.0.2.1:3478", "192.0.2.2:0", false},
		{"192.0.2.1:3478", "224.0.0.1:53", false},
		{"192.0.2.1:3478", "0.0.0.0:53", false},
		{"192.0.2.1:3478", "[2001:db8::2]:3479", false},
		{"[2001:db8::1]:3478", "[::1]:3479", false},
		{"[2001:db8::1]:3478", "[fd00::1]:3479", false},
	} {
		t.Run(tt.server+" names "+tt.other, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, other := addr(tt.server), addr(tt.other)
				w := &wire{sent: map[netip.AddrPort]int{}, respond: func(r []byte, to netip.AddrPort) []packet {
					if to != server {
						return nil
					}
					return []packet{{payload: build(r, stun.BindingSuccess, xorMapped(mapped),
						&stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())}), from: server}}
				}}
				_, err := (&Prober{Open: w.open}).Behaviour(t.Context(), server)
				if !errors.Is(err, ErrUnsupported) { // it ignores CHANGE-REQUEST
					t.Errorf("%v", err)
				}
				delete(w.sent, server)
				if tt.credible != (len(w.sent) > 0) {
					t.Errorf("sent to %v", w.sent)
				}
				for to, n := range w.sent {
					if n > probeRequests || to.Addr() != other.Addr() {
						t.Errorf("%d packets to %v", n, to)
					}
				}
			})
		})
	}
}

// A server that lies about where it sees the spare sockets cannot make us send into our own network.
func TestHairpinAgainstHostileServers(t *testing.T) {
	for lie, moves := range map[string]bool{"127.0.0.1:53": true, "192.168.1.1:53": true, "100.64.0.1:53": true, "203.0.113.7:53": false} {
		synctest.Test(t, func(t *testing.T) {
			told := addr(lie)
			w := &wire{sent: map[netip.AddrPort]int{}, respond: func(r []byte, to netip.AddrPort) []packet {
				if moves { // the same one twice gives the lie away
					told = withPort(told, told.Port()+1)
				}
				return []packet{{payload: build(r, stun.BindingSuccess, xorMapped(told)), from: to}}
			}}
			turned, err := (&Prober{Open: w.open}).Hairpin(t.Context(), serv1)
			if turned || !errors.Is(err, errNoPair) || len(w.sent) != 1 {
				t.Errorf("%s: %v, %v, sent to %v", lie, turned, err, w.sent)
			}
		})
	}
}
