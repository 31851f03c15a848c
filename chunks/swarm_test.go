package chunks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// One stream of 100 Mbit/s with a round trip of 100 ms is filled.
func TestFetchFillsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := noise(1, 32<<20)
		writeTree(t, dir, map[string][]byte{"file": b})
		c := share(t, 0, filepath.Join(dir, "file"))
		n := newTestNet(t)
		s := n.add(c)
		s.up = pipeConfig{delay: 50 * time.Millisecond, rate: 12.5e6}
		s.down = s.up
		defer n.wait()
		r := n.fetch(n.config(c, t.TempDir()))
		ideal := time.Duration(float64(len(b)) / 12.5e6 * float64(time.Second))
		t.Logf("%v, the line alone takes %v", r.Duration, ideal)
		if r.Duration > ideal+500*time.Millisecond { // manifest, have and the first chunk cost a round trip each
			t.Errorf("took %v, the line alone takes %v", r.Duration, ideal)
		}
	})
}

func TestFetchSharesTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 16<<20)
		n := newTestNet(t)
		for range 4 {
			s := n.add(c)
			s.down = pipeConfig{delay: 20 * time.Millisecond, rate: 1 << 20}
		}
		defer n.wait()
		r := n.fetch(n.config(c, t.TempDir()))
		for id, bytes := range r.From {
			if bytes < 3<<20 || bytes > 5<<20 {
				t.Errorf("%s gave %d bytes", id.Short(), bytes)
			}
		}
		if len(r.From) != 4 || r.Duration > 4500*time.Millisecond {
			t.Errorf("%d sources took %v", len(r.From), r.Duration)
		}
		if r.Twice > 1<<20 {
			t.Errorf("%d bytes came twice", r.Twice)
		}
	})
}

// A source that is a hundred times slower than the other does not hold up the end.
func TestFetchSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 16<<20)
		n := newTestNet(t)
		n.add(c).down.rate = 2 << 20
		n.add(c).down.rate = 20 << 10
		defer n.wait()
		r := n.fetch(n.config(c, t.TempDir()))
		t.Logf("%v, %v, twice %d", r.Duration, r.From, r.Twice)
		if r.Duration > 11*time.Second {
			t.Errorf("took %v, the fast source alone takes 8 s", r.Duration)
		}
	})
}

func TestFetchSourceVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 8<<20)
		n := newTestNet(t)
		gone := n.add(c)
		gone.down.rate = 1 << 20
		n.add(c).down.rate = 1 << 20
		defer n.wait()
		time.AfterFunc(1010*time.Millisecond, func() { n.vanish(gone) }) // in the middle of a chunk
		dir := t.TempDir()
		r := n.fetch(n.config(c, dir))
		wantTree(t, dir, map[string][]byte{"file": b})
		if len(r.Bad) != 0 || r.From[peerN(1)] == 0 || r.Duration > 9*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

// A source that takes requests and never answers costs StallTimeout and nothing else.
func TestFetchSourceStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 1<<20)
		n := newTestNet(t)
		n.add().serve = func(s *pipeEnd) error { _, err := io.Copy(io.Discard, s); return err }
		n.add(c)
		defer n.wait()
		dir := t.TempDir()
		r := n.fetch(n.config(c, dir))
		wantTree(t, dir, map[string][]byte{"file": b})
		if r.Duration > time.Second {
			t.Errorf("took %v", r.Duration)
		}
	})
}

// Sources that dribble the manifest do not hold up the beginning for long.
func TestFetchManifestDribbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 1<<16)
		n := newTestNet(t)
		for range 5 {
			n.add().serve = func(s *pipeEnd) error {
				s.Write(appendFrame(nil, response{ID: 1, Body: MaxManifest}))
				for {
					<-time.After(15 * time.Second)
					if _, err := s.Write(make([]byte, 16<<10)); err != nil {
						return err
					}
				}
			}
		}
		n.add(c)
		defer n.wait()
		cfg := n.config(c, t.TempDir())
		r := n.fetch(cfg)
		wantTree(t, cfg.Dir, map[string][]byte{"file": b})
		if r.Duration > 20*time.Second {
			t.Errorf("took %v", r.Duration)
		}
	})
}

// tamper serves c but flips a bit of what it sends at offset.
func tamper(c *Content, offset int64) func(*pipeEnd) error {
	return func(stream *pipeEnd) error {
		server := NewServer(ServerConfig{})
		server.Add(c)
		near, far := newPipe(pipeConfig{}, pipeConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { server.ServeStream(context.Background(), peerN(98), far) })
		wg.Go(func() {
			io.Copy(near, stream)
			near.CloseWrite()
		})
		io.Copy(stream, io.LimitReader(near, offset))
		one := make([]byte, 1)
		if _, err := io.ReadFull(near, one); err == nil {
			one[0] ^= 0x20
			stream.Write(one)
		}
		_, err := io.Copy(stream, near)
		stream.Close()
		near.Close()
		wg.Wait()
		return err
	}
}

// Wherever a source lies, it is dropped and named, and what arrives is right.
func TestFetchBadSource(t *testing.T) {
	c, b := shareNoise(t, 1<<18)
	size := int64(len(c.encoded))
	for _, offset := range []int64{3, 20, size, size + 100, size + 5000, 100_000} {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNet(t)
			n.add().serve = tamper(c, offset)
			n.add(c).down = pipeConfig{delay: 100 * time.Millisecond, rate: 1 << 20} // so that the bad one gets to speak
			defer n.wait()
			cfg := n.config(c, t.TempDir())
			var named []kcptransport.PeerID
			cfg.OnBad = func(id kcptransport.PeerID, err error) { named = append(named, id); t.Log(offset, err) }
			r := n.fetch(cfg)
			wantTree(t, cfg.Dir, map[string][]byte{"file": b})
			if want := []kcptransport.PeerID{peerN(1)}; !slices.Equal(r.Bad, want) || !slices.Equal(named, want) {
				t.Errorf("offset %d: bad are %v, named %v", offset, r.Bad, named)
			}
			if opened := n.m[peerN(1)].opened; opened != 1 {
				t.Errorf("the bad source was asked %d times", opened)
			}
		})
	}
}

// A file that changes after it was shared is an honest refusal: the chunk comes from somebody else.
func TestFetchChangedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := noise(1, 1<<18)
		writeTree(t, dir, map[string][]byte{"1/file": b, "2/file": b})
		c1, c2 := share(t, 1<<14, filepath.Join(dir, "1/file")), share(t, 1<<14, filepath.Join(dir, "2/file"))
		changed := slices.Clone(b)
		changed[100_000]++
		writeTree(t, dir, map[string][]byte{"1/file": changed})
		n := newTestNet(t)
		s := n.add(c1)
		n.add(c2).down = pipeConfig{delay: time.Second, rate: 1 << 20}
		defer n.wait()
		cfg := n.config(c1, t.TempDir())
		r := n.fetch(cfg)
		wantTree(t, cfg.Dir, map[string][]byte{"file": b})
		if len(r.Bad) != 0 || s.server.Stats().Changed != 1 {
			t.Errorf("bad %v, %+v", r.Bad, s.server.Stats())
		}

		// Nobody else has that chunk: the error says so, in whatever order the others come.
		for range 5 {
			one := newTestNet(t)
			one.add(c1)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			_, err := Fetch(ctx, one.config(c1, t.TempDir()))
			cancel()
			one.wait()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "changed") {
				t.Error(err)
			}
		}

		// Nobody else: the error says why.
		n2 := newTestNet(t)
		n2.add(c1)
		defer n2.wait()
		if err := os.Remove(filepath.Join(dir, "1/file")); err != nil {
			t.Fatal(err)
		}
		_, err := Fetch(context.Background(), n2.config(c1, t.TempDir()))
		wantErr(t, err, ErrNoSource)
		t.Log(err)
	})
}

// A download under way serves what it has: the third peer knows the second only, which starts with nothing.
func TestFetchFromUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 4<<20)
		n := newTestNet(t)
		n.add(c).down = pipeConfig{delay: 10 * time.Millisecond, rate: 1 << 20}
		middle := n.add()
		middle.down = pipeConfig{delay: 10 * time.Millisecond, rate: 1 << 20}
		defer n.wait()
		first, second := n.config(c, t.TempDir()), n.config(c, t.TempDir())
		first.Sources = func() []kcptransport.PeerID { return []kcptransport.PeerID{peerN(1)} }
		first.Server = middle.server
		second.Sources = func() []kcptransport.PeerID { return []kcptransport.PeerID{peerN(2)} }
		done := make(chan *Result)
		go func() { done <- n.fetch(first) }()
		r2 := n.fetch(second)
		r1 := <-done
		t.Logf("%v and %v", r1.Duration, r2.Duration)
		if r2.Duration > r1.Duration+2*time.Second {
			t.Errorf("the second took %v, the first %v", r2.Duration, r1.Duration)
		}
		wantTree(t, first.Dir, map[string][]byte{"file": b})
		wantTree(t, second.Dir, map[string][]byte{"file": b})

		// And it goes on serving from the final place.
		third := n.config(c, t.TempDir())
		third.Sources = second.Sources
		n.fetch(third)
	})
}

// Two that fetch from one source and from each other get different pieces first, and swap.
func TestFetchSwaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 38<<20)
		n := newTestNet(t)
		n.add(c).down = pipeConfig{delay: 10 * time.Millisecond, rate: 1 << 20}
		fast := pipeConfig{delay: 10 * time.Millisecond, rate: 8 << 20}
		a, b := n.add(), n.add()
		a.down, b.down = fast, fast
		defer n.wait()
		run := func(s *testSource, other int) *Result {
			cfg := n.config(c, t.TempDir())
			cfg.Sources = func() []kcptransport.PeerID { return []kcptransport.PeerID{peerN(1), peerN(other)} }
			cfg.Server = s.server
			return n.fetch(cfg)
		}
		done := make(chan *Result)
		go func() { done <- run(a, 3) }()
		r2 := run(b, 2)
		r1 := <-done
		t.Logf("%v from %v, %v from %v", r1.Duration, r1.From, r2.Duration, r2.From)
		if r1.From[peerN(3)] < 8<<20 || r2.From[peerN(2)] < 8<<20 {
			t.Error("they hardly swapped")
		}
	})
}

func TestFetchSourcesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 2<<20)
		n := newTestNet(t)
		s1, s2 := n.add(c), n.add(c)
		s1.down.rate, s2.down.rate = 1<<20, 1<<20
		defer n.wait()
		changed := make(chan struct{}, 1)
		var now atomic.Value
		now.Store([]kcptransport.PeerID(nil))
		cfg := n.config(c, t.TempDir())
		cfg.Sources = func() []kcptransport.PeerID { return now.Load().([]kcptransport.PeerID) }
		cfg.SourcesEvery, cfg.Changed = time.Hour, changed
		time.AfterFunc(5*time.Second, func() {
			now.Store([]kcptransport.PeerID{peerN(1)})
			changed <- struct{}{}
		})
		time.AfterFunc(5500*time.Millisecond, func() {
			n.vanish(s1)
			now.Store([]kcptransport.PeerID{peerN(2)})
			changed <- struct{}{}
			close(changed)
		})
		r := n.fetch(cfg)
		wantTree(t, cfg.Dir, map[string][]byte{"file": b})
		if r.Duration < 5*time.Second || r.Duration > 8*time.Second || len(r.From) != 2 {
			t.Errorf("%v, %v", r.Duration, r.From)
		}
	})
}

// A source that fails for a while is tried again with growing pauses.
func TestFetchRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 1<<16)
		n := newTestNet(t)
		s := n.add(c)
		s.refuse = errors.New("busy")
		defer n.wait()
		time.AfterFunc(10*time.Second, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			s.refuse = nil
		})
		if r := n.fetch(n.config(c, t.TempDir())); r.Duration > 16*time.Second {
			t.Errorf("took %v", r.Duration)
		}
	})
}

// BenchmarkFetch is the whole way, from file to file, on a stream in memory.
func BenchmarkFetch(b *testing.B) {
	dir := b.TempDir()
	writeTree(b, dir, map[string][]byte{"file": noise(1, 128<<20)})
	c := share(b, 0, filepath.Join(dir, "file"))
	n := newTestNet(b)
	n.add(c)
	defer n.wait()
	b.SetBytes(128 << 20)
	b.ReportAllocs()
	for b.Loop() {
		n.fetch(n.config(c, b.TempDir()))
	}
}

// BenchmarkFetchSmall is a folder of many small files.
func BenchmarkFetchSmall(b *testing.B) {
	dir := b.TempDir()
	files := make(map[string][]byte)
	for i := range 2000 {
		files[fmt.Sprintf("d/%d/%d", i%20, i)] = noise(uint64(i), 1000)
	}
	writeTree(b, dir, files)
	c := share(b, 0, filepath.Join(dir, "d"))
	n := newTestNet(b)
	n.add(c)
	defer n.wait()
	for b.Loop() {
		n.fetch(n.config(c, b.TempDir()))
	}
	b.ReportMetric(float64(2000*b.N)/b.Elapsed().Seconds(), "files/s")
}
