package chunks

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

var photos = map[string][]byte{
	"photos/a.jpg":         noise(1, 300_000),
	"photos/sub/b.jpg":     noise(2, 1<<18),
	"photos/sub/deep/c":    noise(3, 1),
	"photos/nothing":       nil,
	"photos/hollow/folder": nil,
	"notes.txt":            []byte("remember"),
}

func sharePhotos(t testing.TB) *Content {
	dir := t.TempDir()
	writeTree(t, dir, photos)
	writeTree(t, dir, map[string][]byte{"photos/bare/": nil})
	if err := os.Chmod(filepath.Join(dir, "photos/a.jpg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "notes.txt"), 0o444); err != nil {
		t.Fatal(err)
	}
	return share(t, 1<<14, filepath.Join(dir, "photos"), filepath.Join(dir, "notes.txt"))
}

func wantPhotos(t testing.TB, dir string) {
	t.Helper()
	want := map[string][]byte{"photos/bare/": nil}
	for k, v := range photos {
		want[k] = v
	}
	wantTree(t, dir, want)
}

func TestFetchFolderAndFile(t *testing.T) {
	c := sharePhotos(t)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	r := n.fetch(n.config(c, dir))
	wantPhotos(t, dir)
	if r.Fetched != c.Manifest().Size() || r.Reused != 0 || len(r.Bad) != 0 || r.From[peerN(1)] != r.Fetched {
		t.Errorf("%+v", r)
	}
	if want := []string{filepath.Join(dir, "notes.txt"), filepath.Join(dir, "photos")}; !slices.Equal(r.Paths, want) {
		t.Errorf("paths are %q", r.Paths)
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]os.FileMode{"photos/a.jpg": 0o755, "notes.txt": 0o444, "photos/sub/b.jpg": 0o644} {
			if fi, err := os.Stat(filepath.Join(dir, path)); err != nil || fi.Mode() != want {
				t.Errorf("%s: mode %v, %v", path, fi.Mode(), err)
			}
		}
	}
	if err := r.Content.Verify(context.Background()); err != nil || !r.Content.Complete() {
		t.Error(err)
	}
}

func TestFetchNothingMuch(t *testing.T) {
	for name, files := range map[string]map[string][]byte{
		"empty file":   {"x": nil},
		"empty folder": {"x/": nil},
		"one byte":     {"x": {1}},
		"one chunk":    {"x": noise(1, 1<<14)},
		"chunk and 1":  {"x": noise(1, 1<<14+1)},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			writeTree(t, from, files)
			c := share(t, 1<<14, filepath.Join(from, "x"))
			n := newTestNet(t)
			n.add(c)
			defer n.wait()
			n.fetch(n.config(c, to))
			wantTree(t, to, files)
		})
	}
}

func TestFetchWhatIsThere(t *testing.T) {
	c := sharePhotos(t)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := t.TempDir()
	n.fetch(n.config(c, dir))
	r := n.fetch(n.config(c, dir))
	if r.Fetched != 0 || r.Reused != c.Manifest().Size() {
		t.Errorf("fetched %d, reused %d", r.Fetched, r.Reused)
	}
	wantPhotos(t, dir)

	// Not even a source is needed when the manifest is known.
	cfg := n.config(c, dir)
	cfg.Sources, cfg.Manifest = func() []kcptransport.PeerID { return nil }, c.Manifest()
	n.fetch(cfg)
}

func TestFetchRefusesToOverwrite(t *testing.T) {
	c := sharePhotos(t)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := t.TempDir()
	n.fetch(n.config(c, dir))
	writeTree(t, dir, map[string][]byte{"photos/sub/b.jpg": []byte("mine"), "photos/other": []byte("other")})
	before := readTree(t, dir)
	_, err := Fetch(context.Background(), n.config(c, dir))
	wantErr(t, err, ErrExists)
	wantTree(t, dir, before)

	cfg := n.config(c, dir)
	cfg.Overwrite = true
	r := n.fetch(cfg)
	if r.Fetched != 1<<18 {
		t.Errorf("fetched %d bytes to replace one file of %d", r.Fetched, 1<<18)
	}
	before["photos/sub/b.jpg"] = photos["photos/sub/b.jpg"]
	wantTree(t, dir, before)
}

// What is written never goes through a symbolic link, wherever it leads.
func TestFetchNeverFollowsLinks(t *testing.T) {
	c := sharePhotos(t)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	outside, dir := t.TempDir(), t.TempDir()
	inside := filepath.Join(dir, "elsewhere")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{outside, "elsewhere"} {
		if err := os.Symlink(target, filepath.Join(dir, "photos")); err != nil {
			t.Skip(err)
		}
		for _, overwrite := range []bool{false, true} {
			cfg := n.config(c, dir)
			cfg.Overwrite = overwrite
			_, err := Fetch(context.Background(), cfg)
			wantErr(t, err, ErrExists)
		}
		os.Remove(filepath.Join(dir, "photos"))
	}
	// The folder for the unfinished download is a link.
	part := filepath.Join(dir, partName(c.Manifest(), c.Root()))
	if err := os.Symlink(outside, part); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(context.Background(), n.config(c, dir)); err == nil {
		t.Error("it was written through a link")
	}
	wantTree(t, outside, nil)
	wantTree(t, inside, nil)
}

func TestFetchFileOverLink(t *testing.T) {
	c, b := shareNoise(t, 1000)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "file")); err != nil {
		t.Skip(err)
	}
	cfg := n.config(c, dir)
	cfg.Overwrite = true
	n.fetch(cfg)
	wantTree(t, dir, map[string][]byte{"file": b})
	wantTree(t, filepath.Dir(victim), map[string][]byte{"victim": []byte("precious")})
}

// A manifest whose root is right may still be hostile.
func TestFetchHostileManifest(t *testing.T) {
	for _, name := range []string{"../x", "/tmp/x", `..\x`, "NUL", "a:b", "x/../../y"} {
		hash := emptyHash
		encoded := must(encMode.Marshal(manifestWire{1, 14, []fileWire{{Path: name, Mode: 0o644, Hash: hash[:]}}, []string{}}))
		c := newContent(&Manifest{ChunkSize: 1 << 14, Files: []File{{Path: name, Hash: hash}}}, encoded)
		n := newTestNet(t)
		n.add(c)
		dir := t.TempDir()
		_, err := Fetch(context.Background(), n.config(c, dir))
		wantErr(t, err, ErrName)
		wantTree(t, dir, nil)
		n.wait()
	}
}

func TestFetchLimits(t *testing.T) {
	c, _ := shareNoise(t, 100_000)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := t.TempDir()
	cfg := n.config(c, dir)
	cfg.MaxBytes = 99_999
	_, err := Fetch(context.Background(), cfg)
	wantErr(t, err, ErrTooLarge)
	no := errors.New("no, thanks")
	cfg = n.config(c, dir)
	cfg.Accept = func(m *Manifest) error {
		if m.Size() == 100_000 {
			return no
		}
		return nil
	}
	_, err = Fetch(context.Background(), cfg)
	wantErr(t, err, no)
	wantTree(t, dir, nil)
}

func TestFetchGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 100_000)
		n := newTestNet(t)
		n.add() // does not share it
		n.add(c).refuse = errors.New("unreachable today")
		defer n.wait()
		dir := t.TempDir()
		start := time.Now()
		_, err := Fetch(context.Background(), n.config(c, dir))
		wantErr(t, err, ErrNoSource)
		for _, want := range []string{peerN(1).Short() + ": it does not share this", "unreachable today"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("after %v", took)
		}
		wantTree(t, dir, nil)
	})
}

func TestFetchCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 100_000)
		n := newTestNet(t)
		n.add().serve = func(s *pipeEnd) error { _, err := io.Copy(io.Discard, s); return err }
		defer n.wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := Fetch(ctx, n.config(c, t.TempDir()))
		wantErr(t, err, context.DeadlineExceeded)
	})
}

func TestFetchTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b := shareNoise(t, 1<<20)
		n := newTestNet(t)
		n.add(c).down.rate = 1 << 20
		defer n.wait()
		dir := t.TempDir()
		done := make(chan error)
		go func() {
			_, err := Fetch(context.Background(), n.config(c, dir))
			done <- err
		}()
		<-time.After(500 * time.Millisecond)
		_, err := Fetch(context.Background(), n.config(c, dir))
		wantErr(t, err, ErrBusy)
		// Something else of the same name, into the same folder.
		other := t.TempDir()
		writeTree(t, other, map[string][]byte{"file": noise(9, 5)})
		c2 := share(t, 1<<14, filepath.Join(other, "file"))
		n2 := newTestNet(t)
		n2.add(c2)
		defer n2.wait()
		_, err = Fetch(context.Background(), n2.config(c2, dir))
		wantErr(t, err, ErrBusy)
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantTree(t, dir, map[string][]byte{"file": b})
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := shareNoise(t, 4<<20)
		n := newTestNet(t)
		n.add(c).down.rate = 1 << 20
		defer n.wait()
		cfg := n.config(c, t.TempDir())
		var all []Progress
		cfg.Progress = func(p Progress) { all = append(all, p) }
		n.fetch(cfg)
		if len(all) < 18 || len(all) > 26 {
			t.Errorf("told %d times in 4 s", len(all))
		}
		for i := 1; i < len(all); i++ {
			if all[i].Have < all[i-1].Have || all[i].Total != 4<<20 && all[i].Stage != StageManifest {
				t.Errorf("%+v after %+v", all[i], all[i-1])
			}
		}
		middle, last := all[len(all)*3/4], all[len(all)-1]
		if middle.Stage != StageFetching || middle.Peers != 1 || middle.Rate < 0.5*(1<<20) || middle.Rate > 1.2*(1<<20) {
			t.Errorf("%+v", middle)
		}
		if last.Stage != StageFinishing || last.Have != last.Total || last.Chunks != last.ChunksTotal || last.Chunks != 256 {
			t.Errorf("%+v", last)
		}
	})
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "the disk is full"},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "not allowed"},
	} {
		if got := explain(c.err); !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Error(got)
		}
	}
}

func TestFetchWhereWritingIsForbidden(t *testing.T) {
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("needs permissions that bind")
	}
	c, _ := shareNoise(t, 1000)
	n := newTestNet(t)
	n.add(c)
	defer n.wait()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := Fetch(context.Background(), n.config(c, dir))
	wantErr(t, err, os.ErrPermission)
}
