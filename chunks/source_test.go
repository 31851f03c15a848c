package chunks

import (
	"bytes"
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// bytesStream is a stream from which a fixed answer is read.
type bytesStream struct{ *bytes.Reader }

func (bytesStream) Write(b []byte) (int, error)   { return len(b), nil }
func (bytesStream) Close() error                  { return nil }
func (bytesStream) CloseWrite() error             { return nil }
func (bytesStream) SetDeadline(t time.Time) error { return nil }

// Whatever a source answers, only what verifies is taken, and memory follows what came.
func FuzzResponse(f *testing.F) {
	dir := f.TempDir()
	data := noise(1, 40_000)
	writeTree(f, dir, map[string][]byte{"file": data})
	content := share(f, 1<<15, filepath.Join(dir, "file"))
	root := content.Root()
	manifest, have := appendFrame(nil, response{ID: 1, Body: uint32(len(content.encoded))}), appendFrame(nil, response{ID: 2, All: true})
	buf := make([]byte, content.manifest.ChunkSize)
	chunk, proof, err := content.readChunk(buf, 0)
	if err != nil {
		f.Fatal(err)
	}
	good := appendFrame(nil, response{ID: 3, Body: uint32(len(chunk)), Proof: appendCVs(nil, proof.siblings), Groups: appendCVs(nil, proof.groups)})
	f.Add(append(manifest, content.encoded...))
	f.Add(have)
	f.Add(append(appendFrame(nil, response{ID: 2, Body: 1}), 3))
	f.Add(append(appendFrame(nil, response{ID: 2, Body: 4, List: true}), 0, 0, 0, 1))
	f.Add(append(good, chunk...))
	f.Add(appendFrame(nil, response{ID: 3, Status: statusMissing, Error: "no"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		events := make(chan event, 100)
		var received atomic.Int64
		j := &job{content: content}
		c := &conn{root: root, events: events, received: &received, stall: time.Second, stream: bytesStream{bytes.NewReader(b)}}
		c.pending = map[uint32]ask{
			1: {request{Op: opManifest, ID: 1}, nil},
			2: {request{Op: opHave, ID: 2}, j},
			3: {request{Op: opChunk, ID: 3}, j},
		}
		if err := c.readAll(context.Background()); err == nil {
			t.Fatal("it ended without an error")
		}
		close(events)
		for e := range events {
			switch e := e.(type) {
			case gotManifest:
				if rootOf(e.bytes) != root {
					t.Fatal("a wrong manifest was taken")
				}
			case gotChunk:
				if !bytes.Equal(c.buf[:1<<15], data[:1<<15]) {
					t.Fatal("a wrong chunk was taken")
				}
			}
		}
		if received.Load() > int64(len(b)) {
			t.Fatal("more was counted than came")
		}
	})
}
