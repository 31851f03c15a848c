package api

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/chunks"
)

// writeFile makes a file of size bytes that nothing compresses.
func writeFile(t *testing.T, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	path = filepath.Join(t.TempDir(), "a file.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func wantFile(t *testing.T, dir string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "a file.bin"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes are there, %v; want %d", len(got), err, len(content))
	}
}

// visible returns the names of what is in dir, but not what downloads keep for later.
func visible(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	return names
}

// A file goes from one home to another. Then a third one fetches it from both, after its owner has gone from the second.
func TestShareAndFetch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.link.Rate = 50_000_000
		a, b := w.introduced("port-restricted", "linux")
		path, content := writeFile(t, 3<<20)
		shared, err := a.Share(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		r, err := b.Fetch(w.ctx(time.Minute), shared.Ticket.String(), dir, FetchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, dir, content)
		if r.Fetched != int64(len(content)) || r.From[a.ID()] != r.Fetched {
			t.Errorf("%+v", r)
		}
		again, err := b.Fetch(w.ctx(time.Minute), shared.Ticket.String(), dir, FetchOptions{})
		if err != nil || again.Fetched != 0 {
			t.Errorf("fetched %d bytes anew, %v", again.Fetched, err)
		}
		c := w.public(noMesh)
		b.meet(c)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		dir = t.TempDir()
		if r, err = c.Fetch(w.ctx(time.Minute), shared.Ticket.String(), dir, FetchOptions{}); err != nil {
			t.Fatal(err)
		}
		wantFile(t, dir, content)
		if r.From[b.ID()] != int64(len(content)) {
			t.Errorf("%+v", r)
		}
	})
}

// A download that is cancelled leaves no file, and the next one goes on where it was, also in another process.
func TestFetchGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.link.Rate = 20_000_000
		a, b, c := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		path, content := writeFile(t, 8<<20)
		shared, err := a.Share(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(w.ctx(time.Minute))
		_, err = b.Fetch(ctx, shared.Ticket.String(), dir, FetchOptions{Progress: func(p chunks.Progress) {
			if p.Have > int64(len(content)/2) {
				cancel()
			}
		}})
		if err == nil {
			t.Fatal("the download was not cancelled")
		}
		if names := visible(t, dir); len(names) > 0 {
			t.Errorf("a download that was cancelled left %v", names)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		r, err := c.Fetch(w.ctx(time.Minute), shared.Ticket.String(), dir, FetchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, dir, content)
		if r.Reused < int64(len(content)/4) || r.Fetched+r.Reused < int64(len(content)) {
			t.Errorf("fetched %d bytes and had %d of %d", r.Fetched, r.Reused, len(content))
		}
	})
}

// The link breaks for good in the middle, and comes back: one Fetch sees it through.
func TestFetchOutlivesItsLink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.link.Rate = 20_000_000
		a, b := w.public(noMesh), w.public(noMesh)
		path, content := writeFile(t, 8<<20)
		shared, err := a.Share(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		time.AfterFunc(time.Second, func() {
			a.host.Unplug(40 * time.Second) // longer than links live
		})
		began := time.Now()
		if _, err := b.Fetch(w.ctx(5*time.Minute), shared.Ticket.String(), dir, FetchOptions{}); err != nil {
			t.Fatal(err)
		}
		wantFile(t, dir, content)
		if took := time.Since(began); took < 40*time.Second || took > 90*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What changed since it was shared is not sent: the other side is told, and gets no file.
func TestSharedFileChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		path, content := writeFile(t, 1<<20)
		shared, err := a.Share(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		content[500_000] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, patience := range []time.Duration{10 * time.Second, 2 * time.Minute} {
			_, err = b.Fetch(w.ctx(patience), shared.Ticket.String(), dir, FetchOptions{})
			if err == nil || !strings.Contains(err.Error(), "changed") {
				t.Errorf("a file that had changed was fetched, %v", err)
			}
		}
		if names := visible(t, dir); len(names) > 0 {
			t.Errorf("it left %v", names)
		}
	})
}
