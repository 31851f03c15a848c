package kcptransport

import (
	"testing"
	"time"
)

func TestSignalPause(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		rtt  time.Duration
		n    int
		want time.Duration
	}{{1, 0, 50 * ms}, {1, 2, 200 * ms}, {60 * ms, 0, 120 * ms}, {60 * ms, 3, 960 * ms}, {60 * ms, 6, 2 * time.Second}, {3 * time.Second, 0, 2 * time.Second}} {
		if got := signalPause(c.rtt, c.n); got != c.want {
			t.Errorf("round trip %v, %d sent: %v, want %v", c.rtt, c.n, got, c.want)
		}
	}
}
