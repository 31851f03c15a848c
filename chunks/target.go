package chunks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// ErrExists is wrapped when something different is where a download would go.
var ErrExists = errors.New("something else is there already")

// survey looks at what is at the final place of every name: files that are there with the right content are placed and
// need not be fetched. Anything else in the way is ErrExists, unless overwrite is set; then files are replaced and
// other files in the same folders stay.
func survey(ctx context.Context, dir *os.Root, c *Content, overwrite bool, step func(n int)) (placed []bool, err error) {
	s := &surveyor{dir: dir, content: c, hasher: newHasher(c.manifest.ChunkSize, step), placed: make([]bool, len(c.manifest.Files))}
	present := make(map[string]bool)
	for _, name := range c.manifest.Names() {
		_, err := dir.Lstat(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		present[name] = err == nil
	}
	for i, f := range c.manifest.Files {
		if name, _, _ := strings.Cut(f.Path, "/"); !present[name] {
			continue
		}
		same, err := s.file(ctx, i)
		if err == nil && !same {
			err = s.inTheWay(f.Path, false, overwrite)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, d := range c.manifest.Dirs {
		if name, _, _ := strings.Cut(d, "/"); !present[name] {
			continue
		}
		if fi, err := dir.Lstat(d); err == nil && fi.IsDir() {
			continue
		}
		if err := s.inTheWay(d, true, overwrite); err != nil {
			return nil, err
		}
	}
	return s.placed, nil
}

// inTheWay decides about a name below one that is there, whose content is not the right one.
func (s *surveyor) inTheWay(path string, folder, overwrite bool) error {
	if !overwrite {
		return fmt.Errorf("%w: %s (choose another folder, or overwrite)", ErrExists, path)
	}
	return obstacle(s.dir, path, folder)
}

// obstacle returns ErrExists when overwriting cannot make way for path: when a file, or a symbolic link, is where a
// folder must be, or a folder where a file must be. What is written never goes through a symbolic link.
func obstacle(dir *os.Root, path string, folder bool) error {
	isFolder := func(d, _ string) error {
		if fi, err := dir.Lstat(d); err == nil && !fi.IsDir() {
			return fmt.Errorf("%w: %s is not a folder (move it away)", ErrExists, d)
		}
		return nil
	}
	if err := eachParent(path, path, isFolder); err != nil {
		return err
	}
	if folder {
		return isFolder(path, path)
	}
	if fi, err := dir.Lstat(path); err == nil && fi.IsDir() {
		return fmt.Errorf("%w: %s is a folder (move it away)", ErrExists, path)
	}
	return nil
}

type surveyor struct {
	dir     *os.Root
	content *Content
	hasher  *hasher
	placed  []bool
}

// file reports whether file i is at its place, and takes it into the content then.
func (s *surveyor) file(ctx context.Context, i int) (bool, error) {
	want := s.content.manifest.Files[i]
	if plain, err := s.plain(want.Path); err != nil || !plain {
		return false, err
	}
	f, err := s.dir.Open(want.Path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	leaves, same, err := s.hasher.same(ctx, f, want)
	if same {
		s.content.takeFile(i, leaves)
		s.placed[i] = true
	}
	return same, err
}

// plain reports whether a regular file is at path, reached without a symbolic link.
func (s *surveyor) plain(path string) (bool, error) {
	folders := true
	err := eachParent(path, path, func(dir, _ string) error {
		fi, err := s.dir.Lstat(dir)
		folders = folders && err == nil && fi.IsDir()
		return nil
	})
	if err != nil || !folders {
		return false, err
	}
	fi, err := s.dir.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && fi.Mode().IsRegular(), err
}
