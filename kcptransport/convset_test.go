package kcptransport

import (
	"testing"

	"pgregory.net/rapid"
)

func TestConvSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s convSet
		model := make(map[uint32]bool)
		for range rapid.IntRange(0, 300).Draw(t, "count") {
			k := s.low + rapid.Uint32Range(0, 3*convSpan/2).Draw(t, "ahead")/rapid.Uint32Range(1, 100).Draw(t, "closeness")
			if back := rapid.Uint32Range(0, 10).Draw(t, "back"); back <= k {
				k -= back
			}
			want := !model[k] && k < s.low+convSpan
			if s.fits(k) != want {
				t.Fatalf("fits(%d) is %v with low %d", k, !want, s.low)
			}
			if want {
				s.add(k)
				model[k] = true
			}
			for n := k - min(k, 5); n < k+5; n++ {
				if s.seen(n) != model[n] {
					t.Fatalf("seen(%d) is %v with low %d", n, !model[n], s.low)
				}
			}
		}
	})
}
