package chunks

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lukechampine.com/blake3"
)

// client speaks the protocol by hand.
type client struct {
	t      testing.TB
	stream *pipeEnd
	buf    []byte
}

func serveOne(t testing.TB, s *Server) (*client, chan error) {
	here, there := newPipe(pipeConfig{}, pipeConfig{})
	done := make(chan error, 1)
	go func() { done <- s.ServeStream(context.Background(), peerN(1), there) }()
	return &client{t: t, stream: here, buf: make([]byte, maxResponse)}, done
}

func (c *client) ask(r request) {
	c.t.Helper()
	if _, err := c.stream.Write(appendFrame(nil, r)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) answer(id uint32) (response, []byte) {
	c.t.Helper()
	var r response
	if err := readFrame(c.stream, c.buf, &r); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, r.Body)
	if _, err := io.ReadFull(c.stream, body); err != nil {
		c.t.Fatal(err)
	}
	if r.ID != id {
		c.t.Fatalf("answer %d, want %d", r.ID, id)
	}
	return r, body
}

// The wire as the package comment draws it, by hand.
func TestServeByHand(t *testing.T) {
	content, b := shareNoise(t, 3<<14+5)
	root := content.Root()
	s := NewServer(ServerConfig{})
	s.Add(content)
	c, done := serveOne(t, s)
	c.ask(request{Op: opManifest, ID: 7, Root: root[:]})
	c.ask(request{Op: opHave, ID: 8, Root: root[:]})
	c.ask(request{Op: opChunk, ID: 9, Root: root[:], Chunk: 3})
	c.ask(request{Op: opChunk, ID: 10, Root: root[:], Chunk: 4})
	c.ask(request{Op: opChunk, ID: 11, Root: make([]byte, 32)})
	c.ask(request{Op: 99, ID: 12, Root: root[:]})
	if _, body := c.answer(7); blake3.Sum256(body) != root {
		t.Error("the manifest does not hash to the root")
	}
	if r, body := c.answer(8); !r.All || len(body) != 0 {
		t.Errorf("%+v", r)
	}
	r, body := c.answer(9)
	siblings, _ := cvsFrom(r.Proof)
	_, leaf := chunkCV(nil, body, 3<<14, false)
	if !bytes.Equal(body, b[3<<14:]) || !verifyProof(cvFrom(content.manifest.Files[0].Hash[:]), 3, 4, leaf, siblings) {
		t.Errorf("%+v, %d bytes", r, len(body))
	}
	if r, _ := c.answer(10); r.Status != statusMissing {
		t.Errorf("%+v", r)
	}
	if r, _ := c.answer(11); r.Status != statusUnknown {
		t.Errorf("%+v", r)
	}
	if r, _ := c.answer(12); r.Status != statusBad {
		t.Errorf("%+v", r)
	}
	c.stream.CloseWrite()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Requests != 6 || st.Chunks != 1 || st.Bytes != 5 || st.Streams != 0 {
		t.Errorf("%+v", st)
	}
}

// The first request of a stream, byte by byte: the layout stays.
func TestRequestVector(t *testing.T) {
	root := Root{0xaa}
	got := appendFrame(nil, request{Op: opChunk, ID: 1, Root: root[:], Chunk: 300})
	want := append([]byte{0, 0, 0, 44, 0xa4, 1, 3, 2, 1, 3, 0x58, 32}, root[:]...)
	want = append(want, 4, 0x19, 1, 44)
	if !bytes.Equal(got, want) {
		t.Errorf("%x\n%x", got, want)
	}
}

// A peer that asks and asks and does not read is not read either, once it has MaxRequests waiting.
func TestServeBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content, _ := shareNoise(t, 1<<20)
		root := content.Root()
		s := NewServer(ServerConfig{MaxRequests: 10, IdleTimeout: time.Minute})
		s.Add(content)
		here, there := newPipe(pipeConfig{}, pipeConfig{buffer: 100_000})
		done := make(chan error, 1)
		go func() { done <- s.ServeStream(t.Context(), peerN(1), there) }()
		c := &client{t: t, stream: here}
		for i := range 1000 {
			c.ask(request{Op: opChunk, ID: uint32(i), Root: root[:]})
		}
		synctest.Wait()
		left := 0
		for _, seg := range here.w.segments {
			left += len(seg.data)
		}
		if n := left / 44; n < 970 {
			t.Errorf("only %d of 1000 requests wait outside", n)
		}
		// Nothing moves: the stream is closed after a while.
		start := time.Now()
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		here.Close()
	})
}

func TestServeLimitsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerConfig{MaxStreams: 3, MaxStreamsPerPeer: 2})
		c1, d1 := serveOne(t, s)
		c2, d2 := serveOne(t, s)
		synctest.Wait()
		_, d3 := serveOne(t, s)
		if err := <-d3; err == nil || s.Stats().Refused != 1 || s.Stats().Streams != 2 {
			t.Errorf("%v %+v", err, s.Stats())
		}
		c1.stream.CloseWrite()
		if err := <-d1; err != nil {
			t.Error(err)
		}
		_, d4 := serveOne(t, s)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, d := range []chan error{d2, d4} {
			if err := <-d; !errors.Is(err, ErrServerClosed) {
				t.Error(err)
			}
		}
		_, d5 := serveOne(t, s)
		if err := <-d5; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		c2.stream.Close()
	})
}

func TestServeEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerConfig{})
		_, there := newPipe(pipeConfig{}, pipeConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.ServeStream(ctx, peerN(1), there) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// What came since the last question is told as a list, when that is shorter.
func TestServeNews(t *testing.T) {
	full, _ := shareNoise(t, 1<<20*10)
	c := newContent(full.manifest, full.encoded)
	buf := make([]byte, c.manifest.ChunkSize)
	take := func(chunk int) {
		_, proof, err := full.readChunk(buf, chunk)
		if err != nil {
			t.Fatal(err)
		}
		c.takeChunk(chunk, joinGroups(proof.groups, false), proof.siblings)
	}
	take(5)
	if body, all, list, seq := c.news(0); all || list || seq != 1 || len(body) != 80 || body[0] != 1<<5 {
		t.Errorf("%v %v %d %x", all, list, seq, body)
	}
	take(600)
	if body, _, list, seq := c.news(1); !list || seq != 2 || binary.BigEndian.Uint32(body) != 600 {
		t.Errorf("%v %d %x", list, seq, body)
	}
	if _, _, list, _ := c.news(77); list { // a state that never was
		t.Error("a list since the future")
	}
}

// A path, or anything else about the file system, never reaches the peer.
func TestServeHidesPaths(t *testing.T) {
	content, _ := shareNoise(t, 1<<15)
	root := content.Root()
	s := NewServer(ServerConfig{})
	s.Add(content)
	var status uint8 = statusFailed
	content.moved(func(int) (*os.File, error) {
		return nil, &os.PathError{Op: "open", Path: "/home/alice/secret", Err: os.ErrPermission}
	})
	for range 2 {
		c, done := serveOne(t, s)
		c.ask(request{Op: opChunk, ID: 1, Root: root[:]})
		c.stream.CloseWrite()
		answer, _ := io.ReadAll(c.stream)
		<-done
		var r response
		if err := readFrame(bytes.NewReader(answer), make([]byte, maxResponse), &r); err != nil || r.Status != status {
			t.Errorf("%+v, %v", r, err)
		}
		if bytes.Contains(answer, []byte("alice")) {
			t.Errorf("%q", answer)
		}
		status = statusChanged
		content.moved(func(int) (*os.File, error) { return os.Open(t.TempDir()) })
	}
	if st := s.Stats(); st.Failed != 1 || st.Changed != 1 {
		t.Errorf("%+v", st)
	}
}

func FuzzServeRequest(f *testing.F) {
	dir := f.TempDir()
	writeTree(f, dir, map[string][]byte{"file": noise(1, 40_000)})
	content := share(f, 1<<14, filepath.Join(dir, "file"))
	root := content.Root()
	good := appendFrame(nil, request{Op: opHave, ID: 2, Root: root[:], Since: 1})
	f.Add(appendFrame(good, request{Op: opChunk, ID: 1, Root: root[:], Chunk: 1}))
	f.Add(appendFrame(good, request{Op: opManifest, ID: 1, Root: root[:]}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	s := NewServer(ServerConfig{MaxStreams: 1000, MaxStreamsPerPeer: 1000})
	s.Add(content)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		c, done := serveOne(t, s)
		var out atomic.Int64
		drained := make(chan struct{})
		go func() {
			n, _ := io.Copy(io.Discard, c.stream)
			out.Store(n)
			close(drained)
		}()
		c.stream.Write(b)
		c.stream.CloseWrite()
		<-done
		<-drained
		c.stream.Close()
		if requests := int64(len(b)/44 + 1); out.Load() > requests*(maxResponse+1<<14) {
			t.Fatalf("%d bytes for %d", out.Load(), len(b))
		}
	})
}

func BenchmarkServe(b *testing.B) {
	dir := b.TempDir()
	writeTree(b, dir, map[string][]byte{"file": noise(1, 64<<20)})
	c := share(b, 0, filepath.Join(dir, "file"))
	buf := make([]byte, c.manifest.ChunkSize)
	b.SetBytes(int64(c.manifest.ChunkSize))
	for i := 0; b.Loop(); i++ {
		if _, _, err := c.readChunk(buf, i%c.lay.chunks()); err != nil {
			b.Fatal(err)
		}
	}
}
