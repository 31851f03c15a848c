package chunks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// commit gives everything its final name. Before that, all of it is on the disk and not only on its way there.
func (p *part) commit(ctx context.Context, overwrite bool) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	for _, name := range p.content.manifest.Names() {
		if err := p.place(name, overwrite); err != nil {
			return err
		}
	}
	return syncFolder(p.dir, ".")
}

// flush sets the modes and waits until the disk has every file and folder.
func (p *part) flush(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	folders := make(map[string]bool)
	for i := range p.content.manifest.Files {
		if p.placed[i] || ctx.Err() != nil {
			continue
		}
		for d := path.Dir(p.path(i)); d != "."; d = path.Dir(d) {
			folders[d] = true
		}
		g.Go(func() error { return p.flushFile(i) })
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	for d := range folders {
		if err := syncFolder(p.root, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) flushFile(file int) error {
	name := p.path(file)
	f, err := p.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	want := p.content.manifest.Files[file].Mode | 0o400 // what was fetched can be read and shared on
	if want&0o600 == 0o600 {
		return nil
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Chmod(fi.Mode().Perm() & want) // the umask took its part when the file was made
}

// syncFolder waits until the disk knows the names in a folder, where the system can tell.
func syncFolder(root *os.Root, name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// place moves one of the manifest's names to where it belongs.
func (p *part) place(name string, overwrite bool) error {
	from := path.Join(p.name, partData, name)
	if _, err := p.dir.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // all of it is placed
	}
	if _, err := p.dir.Lstat(name); err == nil {
		return p.merge(name, overwrite)
	}
	if fi, err := p.dir.Lstat(from); err == nil && fi.Mode().IsRegular() {
		return p.moveFile(from, name, false)
	}
	return p.rename(from, name)
}

// moveFile renames a file. Without overwrite it goes by a link, where there are links, because a rename would replace
// silently what somebody put there a moment ago.
func (p *part) moveFile(from, to string, overwrite bool) error {
	if !overwrite {
		err := p.dir.Link(from, to)
		if err == nil {
			return p.dir.Remove(from)
		}
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, to)
		}
	}
	return p.rename(from, to)
}

func (p *part) rename(from, to string) error {
	err := p.dir.Rename(from, to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, to)
	}
	return err
}

// merge moves the files below name one by one into a folder that is there already, or replaces a file.
func (p *part) merge(name string, overwrite bool) error {
	below := func(path string) bool { return path == name || strings.HasPrefix(path, name+"/") }
	for i, f := range p.content.manifest.Files {
		if p.placed[i] || !below(f.Path) {
			continue
		}
		if !overwrite {
			return fmt.Errorf("%w: %s", ErrExists, f.Path)
		}
		if err := obstacle(p.dir, f.Path, false); err != nil {
			return err
		}
		if err := p.dir.MkdirAll(path.Dir(f.Path), 0o777); err != nil {
			return err
		}
		if err := p.moveFile(path.Join(p.name, p.path(i)), f.Path, true); err != nil {
			return err
		}
	}
	for _, d := range p.content.manifest.Dirs {
		if !below(d) {
			continue
		}
		if err := obstacle(p.dir, d, true); err != nil {
			return err
		}
		if err := p.dir.MkdirAll(d, 0o777); err != nil {
			return err
		}
	}
	return nil
}
