package chunks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// AddConfig says what to share. The zero value of all but Paths is usable.
type AddConfig struct {
	// Paths are files and folders; the last component of each is its name in the manifest, so two that end alike are an
	// error. A path that is itself a symbolic link is followed, because it was named on purpose.
	Paths []string
	// SkipSpecial leaves out what cannot be shared: symbolic links, devices, sockets and pipes inside the folders, and
	// unfinished downloads. They are listed by Content.Skipped. Without it, they are an error. Links are never followed.
	SkipSpecial bool
	// ChunkSize in bytes, a power of two from 16 KiB to 1 MiB; 0 means 256 KiB up to 64 GiB and 1 MiB above.
	ChunkSize int
	// Progress is told how many of how many bytes were hashed, serially. It must not block for long.
	Progress func(done, total int64)
}

// Add hashes files and folders so that a Server can serve them from where they are; nothing is copied. Modes are
// reduced to their permission bits, times and owners are not kept. Equal trees have equal roots.
func Add(ctx context.Context, cfg AddConfig) (*Content, error) {
	a := &adder{cfg: cfg}
	c, err := a.add(ctx)
	if err != nil {
		return nil, fmt.Errorf("chunks: sharing %s: %w", clip(strings.Join(cfg.Paths, ", "), 200), err)
	}
	return c, nil
}

// found is a file on its way into a manifest.
type found struct {
	File
	local string
}

type adder struct {
	cfg     AddConfig
	files   []found
	dirs    []string
	skipped []string

	mu    sync.Mutex // progress
	done  int64
	total int64
}

func (a *adder) add(ctx context.Context) (*Content, error) {
	for _, p := range a.cfg.Paths {
		if err := a.walk(ctx, p); err != nil {
			return nil, err
		}
	}
	if len(a.files)+len(a.dirs) == 0 {
		return nil, errors.New("there is nothing to share")
	}
	slices.SortFunc(a.files, func(x, y found) int { return strings.Compare(x.Path, y.Path) })
	slices.Sort(a.dirs)
	m := &Manifest{ChunkSize: a.chunkSize(), Files: make([]File, len(a.files)), Dirs: a.dirs}
	leaves, err := a.hash(ctx, m)
	if err != nil {
		return nil, err
	}
	encoded, err := m.Encode()
	if err != nil {
		return nil, err
	}
	c := newContent(m, encoded)
	c.skipped = a.skipped
	for i := range leaves {
		c.takeFile(i, leaves[i])
	}
	local := make([]string, len(a.files))
	for i, f := range a.files {
		local[i] = f.local
	}
	c.moved(func(file int) (*os.File, error) { return openShared(local[file]) })
	return c, nil
}

func (a *adder) chunkSize() int {
	for _, f := range a.files {
		a.total += f.Size
	}
	switch {
	case a.cfg.ChunkSize != 0:
		return a.cfg.ChunkSize
	case a.total > 64<<30:
		return 1 << 20
	}
	return 256 << 10
}

// hash fills m.Files.
func (a *adder) hash(ctx context.Context, m *Manifest) ([][]cv, error) {
	for i, f := range a.files {
		f.Hash = emptyHash // so that limits and names are checked before the work and not after it
		m.Files[i] = f.File
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	h := newHasher(m.ChunkSize, a.step)
	leaves := make([][]cv, len(a.files))
	for i, f := range a.files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if leaves[i], m.Files[i].Hash, err = a.hashOne(ctx, h, f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.local, err)
		}
	}
	return leaves, nil
}

func (a *adder) hashOne(ctx context.Context, h *hasher, f found) ([]cv, [32]byte, error) {
	file, err := openShared(f.local)
	if err != nil {
		return nil, [32]byte{}, err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return nil, [32]byte{}, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != f.Size {
		return nil, [32]byte{}, errors.New("it changed while it was being shared (run again when nothing writes to it)")
	}
	return h.file(ctx, file, f.Size)
}

func (a *adder) step(n int) {
	if a.cfg.Progress == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done += int64(n)
	a.cfg.Progress(a.done, a.total)
}

// walk collects one of the paths.
func (a *adder) walk(ctx context.Context, p string) error {
	local, err := filepath.Abs(p)
	if err != nil {
		return err
	}
	fi, err := os.Stat(local)
	if err != nil {
		return err
	}
	name := filepath.Base(local)
	if !fi.IsDir() {
		return a.file(name, local, fi)
	}
	return a.folder(ctx, name, local)
}

// folder collects what is in a folder, recursively. name is its path in the manifest.
func (a *adder) folder(ctx context.Context, name, local string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := refusedName(name); err != nil { // also stops at a depth of maxDepth
		return err
	}
	entries, err := os.ReadDir(local)
	if err != nil {
		return err
	}
	before := len(a.files) + len(a.dirs)
	for _, e := range entries {
		if err := a.entry(ctx, path.Join(name, e.Name()), filepath.Join(local, e.Name()), e); err != nil {
			return err
		}
	}
	if len(a.files)+len(a.dirs) == before {
		a.dirs = append(a.dirs, name)
	}
	return nil
}

func (a *adder) entry(ctx context.Context, name, local string, e fs.DirEntry) error {
	if strings.Contains(e.Name(), partMark) {
		return a.special(local, "an unfinished download")
	}
	if e.IsDir() {
		return a.folder(ctx, name, local)
	}
	fi, err := e.Info()
	if err != nil {
		return err
	}
	return a.file(name, local, fi)
}

func (a *adder) file(name, local string, fi fs.FileInfo) error {
	switch mode := fi.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return a.special(local, "a symbolic link")
	case !mode.IsRegular():
		return a.special(local, "not a regular file")
	case len(a.files) == MaxFiles:
		return fmt.Errorf("there are more than %d files (share fewer at once)", MaxFiles)
	}
	f := found{File: File{Path: name, Size: fi.Size(), Mode: fi.Mode().Perm()}, local: local}
	a.files = append(a.files, f)
	return nil
}

// special leaves out what cannot be shared, or refuses.
func (a *adder) special(local, what string) error {
	if a.cfg.SkipSpecial {
		a.skipped = append(a.skipped, local)
		return nil
	}
	return fmt.Errorf("%s is %s, which is not shared (remove it, or leave such entries out)", local, what)
}
