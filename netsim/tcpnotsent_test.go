package netsim

import (
	"testing"
	"time"
)

// With a bound on what is not sent, a writer waits for the path. What is written arrives as fast as without.
func TestTCPNotSent(t *testing.T) {
	var took [2]time.Duration
	for i, bound := range []int{0, 16 << 10} {
		inBubble(t, func(t *testing.T, w *world) {
			a, b := w.pair(Link{Delay: 10 * time.Millisecond, Rate: 8_000_000})
			if err := a.SetNotSent(bound); err != nil {
				t.Fatal(err)
			}
			const size = 200 << 10 // which there is room for
			start := time.Now()
			written := make(chan time.Duration, 1)
			go func() {
				_, _ = a.Write(make([]byte, size))
				written <- time.Since(start)
			}()
			buf := make([]byte, 64<<10)
			for got := 0; got < size; {
				n, err := b.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
			took[i] = time.Since(start)
			if d := <-written; (d > took[i]/2) != (bound > 0) {
				t.Errorf("bound %d: written after %v, when all came after %v", bound, d, took[i])
			}
		})
	}
	if took[1] > took[0]*21/20 {
		t.Errorf("all came after %v, without a bound after %v", took[1], took[0])
	}
}
