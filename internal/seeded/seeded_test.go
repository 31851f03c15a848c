package seeded

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

func TestRepeats(t *testing.T) {
	read := func(key byte) []byte {
		b := make([]byte, 100)
		if _, err := io.ReadFull(New([32]byte{key}), b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(1), read(1)) || bytes.Equal(read(1), read(2)) {
		t.Error("one key is not one stream of bytes")
	}
}

// The race detector tells whether it may be shared.
func TestIsShared(t *testing.T) {
	r := New([32]byte{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				_, _ = r.Read(make([]byte, 10))
			}
		})
	}
	all.Wait()
}
