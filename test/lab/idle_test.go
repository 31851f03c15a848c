//go:build linux

package lab

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/stunclient"
)

// TestHolds has a real conntrack keep mappings for 5 s until traffic has gone both ways for a while, and for 13 s from then on, as it
// does by default for 30 and 120 s. What is found out must be the latter: links are such mappings.
func TestHolds(t *testing.T) {
	needLab(t)
	for _, tt := range []struct {
		wait time.Duration
		want bool
	}{{9 * time.Second, true}, {17 * time.Second, false}} {
		t.Run(tt.wait.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, weather{delay: realistic.delay})
			server := w.listen(w.public("peer", rendezvousAddr), rendezvousAddr, 1000)
			host := w.home("host", aliceOutside, aliceInside, portPreserving)
			w.must(w.routers[0].setting("net/netfilter/nf_conntrack_udp_timeout", "5"))
			w.must(w.routers[0].setting("net/netfilter/nf_conntrack_udp_timeout_stream", "13"))
			served := make(chan struct{})
			go func() {
				defer close(served)
				server.answerSTUN()
			}()
			defer func() { server.conn.Close(); <-served }()
			p := stunclient.Prober{Open: func() (s stunclient.Socket, err error) {
				err = host.do(func() error {
					s, err = net.ListenUDP("udp4", &net.UDPAddr{IP: aliceInside.Addr().AsSlice()})
					return err
				})
				return s, err
			}}
			knock := func(_ context.Context, to netip.AddrPort, id [12]byte) error {
				_, err := server.conn.WriteToUDPAddrPort(stunclient.Request(id), to)
				return err
			}
			if got, err := p.Holds(t.Context(), server.local, tt.wait, knock); got != tt.want || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// answerSTUN does so until the socket is closed.
func (s *socket) answerSTUN() {
	b := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if answer := stunclient.Respond(b[:n], from); answer != nil {
			_, _ = s.conn.WriteToUDPAddrPort(answer, from) // who asks asks again
		}
	}
}
