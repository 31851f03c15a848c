package chunks

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary a fetching process; its value is "folder of the source, folder to fetch to, chunks".
const childEnv = "XPPG_CHUNKS_TEST_CHILD"

// childFetch fetches from a source that falls silent after some chunks, says how many bytes it has, and waits to be
// killed.
func childFetch(env string) {
	args := strings.Split(env, "\n")
	c, err := Add(context.Background(), AddConfig{Paths: []string{args[0]}, ChunkSize: 1 << 14})
	if err != nil {
		panic(err)
	}
	limit, _ := strconv.Atoi(args[2])
	n := newTestNet(nil)
	n.add().serve = func(s *pipeEnd) error {
		server := NewServer(ServerConfig{})
		server.Add(c)
		return server.ServeStream(context.Background(), peerN(1), &silentAfter{s, limit})
	}
	cfg := n.config(c, args[1])
	cfg.ProgressEvery = time.Nanosecond
	before := -1
	cfg.Progress = func(p Progress) {
		if p.Stage != StageFetching {
			return
		}
		if before < 0 {
			before = p.Chunks
		}
		if p.Chunks == before+limit {
			fmt.Println(p.Have)
		}
	}
	Fetch(context.Background(), cfg)
	panic("not killed")
}

// silentAfter blocks for ever once so many chunks were written.
type silentAfter struct {
	*pipeEnd
	chunks int
}

func (s *silentAfter) Write(b []byte) (int, error) {
	if len(b) > 1<<13 { // a chunk, and not the manifest
		if s.chunks--; s.chunks < 0 {
			select {}
		}
	}
	return s.pipeEnd.Write(b)
}

// After kill -9 in the middle, and again, only what is missing is fetched.
func TestResumeAfterKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	from, to := t.TempDir(), t.TempDir()
	writeTree(t, from, twoFiles)
	source := filepath.Join(from, "two")
	c := share(t, 1<<14, source)
	var had int64
	for _, chunks := range []int{100, 50} {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s\n%s\n%d", childEnv, source, to, chunks))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		had = killWhenItSpeaks(t, cmd, bufio.NewScanner(out))
	}
	n := newTestNet(t)
	s := n.add(c)
	defer n.wait()
	r := n.fetch(n.config(c, to))
	if r.Reused != had || r.Fetched != c.Manifest().Size()-had || s.server.Stats().Bytes != r.Fetched {
		t.Errorf("had %d of %d, reused %d, fetched %d, the source sent %d",
			had, c.Manifest().Size(), r.Reused, r.Fetched, s.server.Stats().Bytes)
	}
	wantTree(t, to, twoFiles)
}

// killWhenItSpeaks kills the process once it says how many bytes it has, and returns that.
func killWhenItSpeaks(t *testing.T, cmd *exec.Cmd, out *bufio.Scanner) int64 {
	t.Helper()
	out.Scan()
	had, err := strconv.ParseInt(out.Text(), 10, 64)
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return had
}
