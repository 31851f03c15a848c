package carrier

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// What a slow connection does not send waits where it is seen, and who sends is told after 20 ms; what waits for less is as it should be.
func TestCongested(t *testing.T) {
	for _, kind := range []string{"tcp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			inOffice(t, Config{}, func(o *office) {
				to := o.dial(o.urls[kind])
				packet := strings.Repeat("x", 1000)
				for range 200 { // 8 Mbit/s of 20
					send(o.a, to, packet)
					time.Sleep(time.Millisecond)
					if o.a.Congested(to) {
						t.Fatal("congested at two fifths of the rate")
					}
				}
				start := time.Now()
				for range 1000 { // 32 Mbit/s: the queue of the link fills first
					send(o.a, to, packet, packet, packet, packet)
					if time.Sleep(time.Millisecond); o.a.Congested(to) {
						break
					}
				}
				if took := time.Since(start); took < longWait || took > 500*time.Millisecond {
					t.Errorf("congested after %v", took)
				}
				time.Sleep(2 * time.Second)
				if o.a.Congested(to) {
					t.Error("congested, but all has left")
				}
				if o.a.Congested(netip.MustParseAddrPort("20.0.0.2:2")) {
					t.Error("UDP is congested")
				}
			})
		})
	}
}

// A packet for which there was no room counts once.
func TestCongestedByLoss(t *testing.T) {
	inOffice(t, Config{Queue: 3000}, func(o *office) {
		to := o.dial(o.urls["tcp"])
		packet := strings.Repeat("x", 900)
		if n := send(o.a, to, packet, packet, packet, packet); n != 3 {
			t.Fatalf("%d packets taken", n)
		}
		time.Sleep(time.Millisecond)
		if first, second := o.a.Congested(to), o.a.Congested(to); !first || second {
			t.Errorf("congested: %v, then %v", first, second)
		}
	})
}
