package relaymesh

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// FuzzServe gives an introducer arbitrary bytes from both sides. It must come to an end, and must not pass on more
// than its limit.
func FuzzServe(f *testing.F) {
	request := appendGreeting(nil, frameRequest, bob)
	f.Add(request, appendFrame(nil, frameAccept))
	f.Add(appendFrame(request, framePacket, make([]byte, 100)...), appendFrame(nil, frameRefuse, 4))
	f.Add([]byte{0xff, 0xff}, []byte{0})
	f.Fuzz(func(t *testing.T, asking, asked []byte) {
		const limit = 1 << 10
		b, bFar := pipe(KindIntroduced, 1<<20)
		i := NewIntroducer(IntroducerConfig{Bytes: limit, Open: func(context.Context, kcptransport.PeerID) (Stream, error) { return b, nil }})
		a, aFar := pipe(KindIntroduce, 1<<20)
		for far, bytes := range map[*end][]byte{aFar: asking, bFar: asked} {
			_, _ = far.Write(bytes[:min(len(bytes), 1<<16)])
			_ = far.CloseWrite()
		}
		start := time.Now()
		_ = i.Serve(context.Background(), alice, a)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		if s := i.Stats(); s.Active != 0 || s.Bytes > 2*limit {
			t.Errorf("stats %+v", s)
		}
		if n := len(bFar.in.buf); n > greetingLen+2*frameHeader+limit+frameHeader+2 {
			t.Errorf("the target got %d bytes", n)
		}
	})
}

// What relays and targets are told is hostile: it is refused, or has no loop and no more hops than there may be.
func FuzzCircuitFrames(f *testing.F) {
	f.Add(ask{target: bob, label: 1, route: []kcptransport.PeerID{carol}}.frame())
	f.Add(ask{target: bob, label: 1, passed: []kcptransport.PeerID{carol, alice}}.frame())
	f.Add(offer{origin: alice, label: 2, relays: []kcptransport.PeerID{carol}}.frame())
	f.Add(granted{label: 3, relays: []kcptransport.PeerID{carol}}.frame())
	f.Add(reservedFrame(Limits{BytesPerSecond: 1 << 20, Circuits: 8}, reservationTime))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := readFrame(bytes.NewReader(b), make([]byte, maxFrameBytes))
		if err != nil {
			return
		}
		self := peerNumber(77)
		if a, err := parseAsk(frame, self, alice); err == nil {
			all := slices.Concat(a.passed, []kcptransport.PeerID{self}, a.route, []kcptransport.PeerID{a.target})
			seen := map[kcptransport.PeerID]bool{}
			for _, id := range all {
				if seen[id] || id.IsZero() {
					t.Fatalf("a loop: %v", all)
				}
				seen[id] = true
			}
			if len(a.passed)+len(a.route) > MaxHops || a.label == 0 {
				t.Fatalf("accepted %+v", a)
			}
		}
		if o, err := parseOffer(frame); err == nil && (o.label == 0 || len(o.relays) > MaxHops || len(o.relays) == 0) {
			t.Fatalf("accepted %+v", o)
		}
		_, body := splitFrame(frame)
		if g, err := parseGranted(body); err == nil && (g.label == 0 || len(g.relays) > MaxHops) {
			t.Fatalf("accepted %+v", g)
		}
		if _, lasts, err := parseReserved(body); err == nil && (lasts < minReservation || lasts > maxReservation) {
			t.Fatalf("accepted a reservation for %v", lasts)
		}
	})
}

// Whatever comes by whichever way, a switch sends on only what came from the neighbour that has the label.
func FuzzSwitch(f *testing.F) {
	f.Add([]byte{typeRelayed, 0x80, 0, 0, 1, 9}, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, from byte) {
		sent := 0
		s, err := NewSwitch(SwitchConfig{Rand: bytes.NewReader([]byte{0, 0, 0, 1, 0, 0, 0, 2}), Write: func(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
			sent += len(bufs)
			return len(bufs), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Connect(testNeighbor(alice), testNeighbor(bob), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c.SetRemote(SideB, 5)
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, from}), 7337)
		mine := len(b) > relayPrefix && b[0]&^1 == typeRelayed && string(b[1:5]) == "\x80\x00\x00\x01" && addr == testNeighbor(alice).Addr()
		s.Forward([][]byte{b}, []netip.AddrPort{addr})
		if (sent == 1) != mine {
			t.Fatalf("%x from %v: sent on %d times", b, addr, sent)
		}
	})
}
