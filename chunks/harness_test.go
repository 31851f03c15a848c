package chunks

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		childFetch(dir)
		return
	}
	leaks.VerifyTestMain(m)
}

func peerN(n int) (id kcptransport.PeerID) {
	id[0], id[1] = byte(n), 1
	return id
}

// testSource is a peer of a testNet.
type testSource struct {
	server   *Server
	up, down pipeConfig
	refuse   error                       // from OpenStream
	serve    func(stream *pipeEnd) error // in place of server
	streams  []*pipeEnd
	opened   int
}

// testNet opens streams in memory.
type testNet struct {
	t  testing.TB
	mu sync.Mutex
	m  map[kcptransport.PeerID]*testSource
	wg sync.WaitGroup
}

func newTestNet(t testing.TB) *testNet {
	return &testNet{t: t, m: make(map[kcptransport.PeerID]*testSource)}
}

// add makes a source with what it shares, numbered from 1.
func (n *testNet) add(contents ...*Content) *testSource {
	s := &testSource{server: NewServer(ServerConfig{})}
	for _, c := range contents {
		s.server.Add(c)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.m[peerN(len(n.m)+1)] = s
	return s
}

func (n *testNet) peers() []kcptransport.PeerID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []kcptransport.PeerID
	for i := range len(n.m) {
		ids = append(ids, peerN(i+1))
	}
	return ids
}

func (n *testNet) OpenStream(_ context.Context, peer kcptransport.PeerID, kind string) (Stream, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.m[peer]
	if s == nil || kind != StreamKind {
		return nil, errors.New("no such peer")
	}
	if s.refuse != nil {
		return nil, s.refuse
	}
	here, there := newPipe(s.up, s.down)
	s.streams = append(s.streams, there)
	s.opened++
	n.wg.Go(func() {
		if s.serve != nil {
			s.serve(there)
			there.Close()
			return
		}
		s.server.ServeStream(context.Background(), peerN(99), there)
	})
	return here, nil
}

// vanish cuts every stream of a source and lets no new one through.
func (n *testNet) vanish(s *testSource) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.refuse = errors.New("gone")
	for _, stream := range s.streams {
		stream.Close()
	}
}

// wait ends the servers and waits for them.
func (n *testNet) wait() {
	n.mu.Lock()
	for _, s := range n.m {
		for _, stream := range s.streams {
			stream.Close()
		}
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// config is a FetchConfig from all sources of the net.
func (n *testNet) config(c *Content, dir string) FetchConfig {
	return FetchConfig{Root: c.Root(), Dir: dir, Opener: n, Sources: n.peers, GiveUpAfter: 20 * time.Second}
}

// fetch fetches and fails the test when that fails.
func (n *testNet) fetch(cfg FetchConfig) *Result {
	n.t.Helper()
	r, err := Fetch(context.Background(), cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// tree writes files: path → content. A path that ends in a slash is a folder.
func writeTree(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for path, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		if path[len(path)-1] == '/' {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readTree is the opposite of writeTree; only empty folders are listed.
func readTree(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			entries, err := os.ReadDir(path)
			if err == nil && len(entries) == 0 {
				out[rel+"/"] = nil
			}
			return err
		}
		out[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantTree(t testing.TB, dir string, want map[string][]byte) {
	t.Helper()
	got := readTree(t, dir)
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is there and should not be", path)
		}
	}
	for path, content := range want {
		if b, ok := got[path]; !ok || string(b) != string(content) {
			t.Errorf("%s: %d bytes that differ from the %d wanted", path, len(b), len(content))
		}
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

// share adds paths below dir.
func share(t testing.TB, chunkSize int, paths ...string) *Content {
	t.Helper()
	c, err := Add(context.Background(), AddConfig{Paths: paths, ChunkSize: chunkSize})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shareNoise shares one file of n bytes with chunks of 16 KiB.
func shareNoise(t testing.TB, n int) (*Content, []byte) {
	t.Helper()
	dir := t.TempDir()
	b := noise(7, n)
	writeTree(t, dir, map[string][]byte{"file": b})
	return share(t, 1<<14, filepath.Join(dir, "file")), b
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want one that wraps %q", err, want)
	}
}
