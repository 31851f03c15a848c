package udp

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// What the kernel is told of a run is the run, in as few pieces as it lies in memory.
func TestGather(t *testing.T) {
	memory := make([]byte, 4000)
	for i := range memory {
		memory[i] = byte(i * 7)
	}
	rapid.Check(t, func(t *rapid.T) {
		var bufs [][]byte
		var want []byte
		pieces, at, end := 0, 0, -1
		for range rapid.IntRange(1, 40).Draw(t, "packets") {
			at += rapid.SampledFrom([]int{0, 0, 0, 5}).Draw(t, "gap")
			size := rapid.IntRange(1, 60).Draw(t, "size")
			if at != end {
				pieces++
			}
			bufs = append(bufs, memory[at:at+size:at+size])
			want = append(want, memory[at:at+size]...)
			at += size
			end = at
		}
		iovs := make([]unix.Iovec, len(bufs))
		n := gather(iovs, bufs)
		if n != pieces {
			t.Fatalf("%d pieces, want %d", n, pieces)
		}
		var got []byte
		for _, v := range iovs[:n] {
			got = append(got, unsafe.Slice(v.Base, v.Len)...)
		}
		if string(got) != string(want) {
			t.Fatal("other bytes")
		}
	})
}
