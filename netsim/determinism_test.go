package netsim

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// scenario has four hosts behind NATs chatter over bad links, with goroutines
// that race each other at every instant, and returns the digest.
func scenario(t *testing.T, seed uint64) (digest uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		bad := Link{Delay: 7 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.05, Rate: 2_000_000}
		server := w.listen(w.public("server", "2.0.0.1", bad), 1)
		go func() { // answers everybody, and tells the last one of everybody
			b := make([]byte, 2000)
			for {
				n, from, err := server.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				_, _ = server.WriteToUDPAddrPort(append(b[:n], '!'), from)
			}
		}()
		for i := range 4 {
			h, _ := w.behind(fmt.Sprint(i), fmt.Sprintf("1.0.0.%d", i+1), NAT{Mapping: Behaviour(i % 3), Filtering: AddressAndPortDependent, Ports: RandomPorts})
			h.SetLink(bad, bad)
			for j := range 2 {
				c := w.listen(h, uint16(5000+j))
				go func() {
					b := make([]byte, 2000)
					for {
						n, from, err := c.ReadFromUDPAddrPort(b)
						if err != nil {
							return
						}
						if n < 200 {
							_, _ = c.WriteToUDPAddrPort(b[:n], from)
						}
					}
				}()
				for k := range 3 {
					w.send(c, "2.0.0.1:1", fmt.Sprint("hello ", i, j, k))
				}
			}
		}
		pass(2 * time.Second)
		digest = w.Digest()
		w.close()
	})
	return digest
}

func TestOneSeedOneOutcome(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	want := scenario(t, 1)
	for i := range 100 {
		runtime.GOMAXPROCS(1 + i%2)
		if got := scenario(t, 1); got != want {
			t.Fatalf("run %d: digest %x, before it was %x", i, got, want)
		}
	}
	if scenario(t, 2) == want {
		t.Error("another seed gives the same digest")
	}
}
