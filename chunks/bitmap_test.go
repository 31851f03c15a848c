package chunks

import (
	"testing"

	"pgregory.net/rapid"
)

func TestBitmapTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "n")
		b := newBitmap(n)
		want := make(map[int]bool)
		for i := range n {
			if rapid.Bool().Draw(t, "bit") {
				b.set(i)
				want[i] = true
			}
		}
		p := b.bytes(n)
		got, ok := bitmapFrom(p, n)
		if !ok {
			t.Fatal("not read")
		}
		count := 0
		for i := got.nextCommon(nil, 0); i >= 0; i = got.nextCommon(b, i+1) {
			if !want[i] {
				t.Fatalf("%d is in it", i)
			}
			count++
		}
		if count != len(want) {
			t.Fatalf("%d of %d", count, len(want))
		}
		if _, ok := bitmapFrom(append(p, 0), n); ok {
			t.Fatal("too long a set was read")
		}
	})
}

// Bits beyond the end cannot lead to chunks that do not exist.
func TestBitmapIgnoresTail(t *testing.T) {
	b, ok := bitmapFrom([]byte{0xff, 0xff}, 9)
	if !ok || b.nextCommon(nil, 9) != -1 || b.nextCommon(nil, 8) != 8 {
		t.Fatalf("%v %v", b, ok)
	}
}
