package netsim

import (
	"context"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// A NAT lets streams out and their answers in, whatever it does to datagrams; others
// reach the inside of no one.
func TestStreamsThroughNATs(t *testing.T) {
	for name := range Presets {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				h, _ := w.behind("home", "1.0.0.1", Presets[name])
				server := w.public("server", "2.0.0.1", Link{Delay: 10 * time.Millisecond})
				allowed, other := w.listenTCP(server, "0.0.0.0:443"), w.listenTCP(server, "0.0.0.0:80")
				a := w.dial(h, "2.0.0.1:443")
				b := w.accept(allowed)
				want := "1.0.0.1"
				if Presets[name].Transparent {
					want = "192.168.1.2"
				}
				if got := b.remote.Addr(); got != addr(want) {
					t.Errorf("seen as %v, want %v", got, want)
				}
				w.transfer(a, b, random(50_000))
				w.transfer(b, a, random(50_000))

				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if _, err := h.DialTCP(ctx, addrPort("2.0.0.1:80")); (err == nil) == (name == "udp-blocked-443") {
					t.Errorf("to another port: %v", err)
				}
				_ = other.Close()

				w.listenTCP(h, "0.0.0.0:7")
				_, err := server.DialTCP(ctx, netip.AddrPortFrom(addr(want), 7))
				if (err == nil) != (name == "open") {
					t.Errorf("a stranger at an unmapped port: %v", err)
				}
			})
		})
	}
}

// Who may come in where a stream went out is what NAT.Filtering says; the host inside
// refuses those who do.
func TestFilteringOfStreams(t *testing.T) {
	for _, tt := range []struct {
		filtering      Behaviour
		same, stranger error
	}{
		{EndpointIndependent, syscall.ECONNREFUSED, syscall.ECONNREFUSED},
		{AddressDependent, syscall.ECONNREFUSED, syscall.ETIMEDOUT},
		{AddressAndPortDependent, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
	} {
		inBubble(t, func(_ *testing.T, w *world) {
			h, _ := w.behind("home", "1.0.0.1", NAT{Filtering: tt.filtering})
			server := w.public("server", "2.0.0.1", Link{})
			l := w.listenTCP(server, "0.0.0.0:443")
			w.dial(h, "2.0.0.1:443")
			seen := w.accept(l).remote
			w.wantErr("the same host", second(server.DialTCP(context.Background(), seen)), tt.same)
			w.wantErr("a stranger", second(w.public("s", "2.0.0.2", Link{}).DialTCP(context.Background(), seen)), tt.stranger)
		})
	}
}

// A NAT has ports for TCP and ports for UDP, and forgets streams later.
func TestMappingsOfStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("home", "1.0.0.1", NAT{TCPTimeout: time.Hour, Timeout: 30 * time.Second})
		server := w.public("server", "2.0.0.1", Link{})
		l, u := w.listenTCP(server, "0.0.0.0:443"), w.listen(server, 443)
		w.send(w.listen(h, firstEphemeral), "2.0.0.1:443", "x")
		w.wantPacket(u, "x")
		a := w.dial(h, "2.0.0.1:443")
		b := w.accept(l)
		if b.remote.Port() != firstEphemeral {
			t.Errorf("a port of UDP stands in the way: %v", b.remote)
		}
		time.Sleep(10 * time.Minute)
		w.transfer(b, a, random(10))
		r.Rebind()
		time.Sleep(time.Second)
		_, _ = a.Write([]byte("from another address, which the server does not know"))
		w.wantErr("read", second(a.Read(make([]byte, 1))), syscall.ECONNRESET)
	})
}
