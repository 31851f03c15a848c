package chunks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"lukechampine.com/blake3"
)

func TestAdd(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"d/b": noise(1, 100), "d/a/x": noise(2, 70_000), "d/empty/": nil, "d/a-b": nil, "single": noise(3, 5)}
	writeTree(t, dir, files)
	var told int64
	c, err := Add(context.Background(), AddConfig{
		Paths:    []string{filepath.Join(dir, "single"), filepath.Join(dir, "d") + string(filepath.Separator)},
		Progress: func(done, total int64) { told = done*1000 + total },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := c.Manifest()
	var paths []string
	for _, f := range m.Files {
		paths = append(paths, f.Path)
		if f.Hash != blake3.Sum256(files[f.Path]) || f.Size != int64(len(files[f.Path])) {
			t.Errorf("%s: wrong hash or size", f.Path)
		}
	}
	if want := []string{"d/a-b", "d/a/x", "d/b", "single"}; !slices.Equal(paths, want) || !slices.Equal(m.Dirs, []string{"d/empty"}) {
		t.Errorf("%q, %q", paths, m.Dirs)
	}
	if told != 70_105*1001 {
		t.Errorf("progress ended at %d", told)
	}
	if c.Root() != rootOf(c.encoded) || c.Root().IsZero() || !c.Complete() || m.ChunkSize != 256<<10 {
		t.Errorf("%v %d", c.Root(), m.ChunkSize)
	}
	again := share(t, 0, filepath.Join(dir, "d"), filepath.Join(dir, "single"))
	if again.Root() != c.Root() {
		t.Error("the order of the paths changes the root")
	}
}

func TestAddSpecial(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string][]byte{"d/file": {1}, "d/.other.xppg-part-12345678/journal": {2}, "secret": {3}})
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "d", "link")); err != nil {
		t.Skip(err)
	}
	_, err := Add(context.Background(), AddConfig{Paths: []string{filepath.Join(dir, "d")}})
	if err == nil || !strings.Contains(err.Error(), "not shared") {
		t.Errorf("error is %v", err)
	}
	c, err := Add(context.Background(), AddConfig{Paths: []string{filepath.Join(dir, "d")}, SkipSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Manifest().Files) != 1 || len(c.Skipped()) != 2 {
		t.Errorf("%+v, skipped %q", c.Manifest().Files, c.Skipped())
	}
	// A link that was named on purpose is followed.
	c = share(t, 0, filepath.Join(dir, "d", "link"))
	if c.Manifest().Files[0].Path != "link" || c.Manifest().Files[0].Size != 1 {
		t.Errorf("%+v", c.Manifest().Files)
	}
}

func TestAddRefuses(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string][]byte{"x/same": {1}, "y/same": {1}, "case/a": {1}, "case/A": {1}})
	writeTree(t, dir, map[string][]byte{"bad/con": {1}, "Bad2/x": {1}})
	join := func(p string) string { return filepath.Join(dir, p) }
	cases := map[string][]string{
		"nothing":   nil,
		"not there": {join("nowhere")},
		"twice":     {join("x/same"), join("y/same")},
		"device":    {join("bad")},
		"root":      {string(filepath.Separator)},
	}
	if entries, _ := os.ReadDir(join("case")); len(entries) == 2 {
		cases["case"] = []string{join("case")}
	}
	for name, paths := range cases {
		if _, err := Add(context.Background(), AddConfig{Paths: paths}); err == nil {
			t.Errorf("%s: shared", name)
		} else {
			t.Log(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Add(ctx, AddConfig{Paths: []string{join("x")}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Add(context.Background(), AddConfig{Paths: []string{join("x")}, ChunkSize: 100}); err == nil {
		t.Error("a chunk size of 100 was taken")
	}
	if runtime.GOOS == "linux" {
		if _, err := Add(context.Background(), AddConfig{Paths: []string{"/dev/null"}}); err == nil {
			t.Error("a device was shared")
		}
	}
}
