package udp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Datagrams can be seen where they lie, changed there, and sent on from there.
func TestViewsAreSentOn(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		a, b, c := open("127.0.0.1:0"), open("127.0.0.1:0"), open("127.0.0.1:0")
		var payloads []string
		for i := range 50 {
			payloads = append(payloads, fmt.Sprintf("a %0*d", 10+i%5/4*30, i)) // runs of one size, and others
		}
		send(t, a, at(b, "127.0.0.1"), payloads...)
		if err := b.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		views, addrs := make([][]byte, 17), make([]netip.AddrPort, 17)
		for passed := 0; passed < len(payloads); {
			n, err := b.ReadViews(views, addrs)
			if err != nil {
				t.Fatalf("after %d: %v", passed, err)
			}
			for i := range n {
				if addrs[i] != at(a, "127.0.0.1") || string(views[i]) != payloads[passed+i] {
					t.Fatalf("datagram %d is %q from %v", passed+i, views[i], addrs[i])
				}
				views[i][0], addrs[i] = 'b', at(c, "127.0.0.1")
			}
			if sent, err := b.WriteBatch(views[:n], addrs[:n]); sent != n || err != nil {
				t.Fatalf("sent %d of %d: %v", sent, n, err)
			}
			passed += n
		}
		for i, d := range receive(t, c, len(payloads), 64) {
			if want := "b" + payloads[i][1:]; d.payload != want {
				t.Fatalf("datagram %d is %q, want %q", i, d.payload, want)
			}
		}
	})
}

// What is read in one way after the other is neither lost nor doubled.
func TestViewsAndBatchesTakeTurns(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		a, b := open("127.0.0.1:0"), open("127.0.0.1:0")
		var payloads []string
		for i := range 60 {
			payloads = append(payloads, fmt.Sprintf("%03d", i))
		}
		send(t, a, at(b, "127.0.0.1"), payloads...)
		if err := b.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		views := make([][]byte, 7)
		bufs, sizes, addrs := batchOf(7, 100)
		for got := 0; got < len(payloads); {
			read := func() (int, error) { return b.ReadViews(views, addrs) }
			if got%2 == 1 {
				read = func() (int, error) {
					n, err := b.ReadBatch(bufs, sizes, addrs)
					for i := range n {
						views[i] = bufs[i][:sizes[i]]
					}
					return n, err
				}
			}
			n, err := read()
			if err != nil {
				t.Fatalf("after %d: %v", got, err)
			}
			for i := range n {
				if string(views[i]) != payloads[got+i] {
					t.Fatalf("datagram %d is %q", got+i, views[i])
				}
			}
			got += n
		}
	})
}
