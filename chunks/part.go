package chunks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"

	"github.com/2xppg/xppg/internal/filelock"
)

// Names inside an unfinished download, a folder called ".NAME.xppg-part-ROOT8" next to what it will become.
const (
	partLock     = "lock"     // locked by the process at work
	partManifest = "manifest" // encoded
	partJournal  = "journal"
	partData     = "data" // the files, under the names they will have
)

// ErrBusy is wrapped when another Fetch, of this or another process, works on the same target.
var ErrBusy = errors.New("another download to the same place is running")

// partName returns the name of the folder for an unfinished download.
func partName(m *Manifest, root Root) string { return partPrefix(m.Names()[0]) + root.Short() }

func partPrefix(name string) string { return "." + clipName(name, 200) + partMark }

func clipName(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}

// part is an unfinished download. All access goes through dir or root, which nothing can leave. Its methods may be
// called by several goroutines, but close and the ones in commit.go by one and last.
type part struct {
	dir     *os.Root // the target folder
	name    string   // of the part's folder in it
	root    *os.Root
	lock    *os.File
	journal *os.File
	content *Content
	placed  []bool // files that are at their final place already
	fresh   bool   // nothing was there before

	mu sync.Mutex // the journal
}

// openPart makes or finds the folder of an unfinished download and locks it.
func openPart(dir *os.Root, c *Content, placed []bool) (p *part, err error) {
	p = &part{dir: dir, name: partName(c.manifest, c.root), content: c, placed: placed}
	for p.lock == nil {
		if err := p.acquire(); err != nil {
			p.close()
			return nil, err
		}
	}
	if err := p.others(); err != nil {
		p.giveUp()
		return nil, err
	}
	return p, nil
}

// giveUp lets go of the folder, and removes it when it holds nothing of use.
func (p *part) giveUp() {
	if !p.fresh {
		p.close()
		return
	}
	p.discard() //nolint:errcheck // something has failed already, and a rest harms nobody
}

// acquire tries to take the lock. It leaves lock nil, without an error, when the folder was removed by its previous
// owner meanwhile.
func (p *part) acquire() error {
	err := p.dir.Mkdir(p.name, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p.fresh = err == nil
	root, err := openFolder(p.dir, p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := lockIn(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_ = root.Close()
		return nil
	case err != nil:
		_ = root.Close()
		return err
	}
	ours, err := p.stillThere(lock)
	if !ours {
		lock.Close()
		_ = root.Close()
		return err
	}
	p.root, p.lock = root, lock
	return nil
}

// stillThere reports whether a lock that was taken is on the file that has its name now. Otherwise whoever held it
// before has removed it, and the lock protects nothing.
func (p *part) stillThere(lock *os.File) (bool, error) {
	ours, err := lock.Stat()
	if err != nil {
		return false, err
	}
	named, err := p.dir.Stat(p.name + "/" + partLock)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, named), err
}

// openFolder opens a folder below dir that is not a symbolic link.
func openFolder(dir *os.Root, name string) (*os.Root, error) {
	fi, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("%s is in the way: it is not a folder", name)
	}
	return dir.OpenRoot(name)
}

// lockIn takes the lock of a part's folder, or fails with ErrBusy.
func lockIn(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(partLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Lock(f); err != nil {
		f.Close()
		if errors.Is(err, filelock.ErrLocked) {
			err = ErrBusy
		}
		return nil, err
	}
	return f, nil
}

// others refuses when a download of something else with the same name is being written to the same folder.
func (p *part) others() error {
	names, err := listFolder(p.dir)
	if err != nil {
		return err
	}
	prefix := partPrefix(p.content.manifest.Names()[0])
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) || name == p.name {
			continue
		}
		root, err := openFolder(p.dir, name)
		if err != nil {
			continue
		}
		lock, err := lockIn(root)
		_ = root.Close()
		if errors.Is(err, ErrBusy) {
			return fmt.Errorf("%w: %s", ErrBusy, name)
		}
		if err == nil {
			lock.Close()
		}
	}
	return nil
}

func listFolder(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// prepare brings the folder into a state in which chunks can be written: it continues what an earlier attempt left, or
// makes every file. It records in the content the chunks that are there.
func (p *part) prepare(ctx context.Context, step func(n int)) error {
	p.content.moved(p.opener())
	old, err := p.root.ReadFile(partManifest)
	if err == nil && bytes.Equal(old, p.content.encoded) {
		if done, err := p.resume(ctx, step); done || err != nil {
			return err
		}
	}
	return p.begin()
}

// opener finds files while they are on their way. It outlives close: then it returns errors.
func (p *part) opener() func(file int) (*os.File, error) {
	root, dir := p.root, p.dir
	return func(file int) (*os.File, error) {
		if p.placed[file] {
			return dir.Open(p.content.manifest.Files[file].Path)
		}
		return root.Open(p.path(file))
	}
}

// path is where a file is while it is unfinished.
func (p *part) path(file int) string { return partData + "/" + p.content.manifest.Files[file].Path }

// begin makes all files and then the journal, whose presence says that the files were made.
func (p *part) begin() error {
	p.fresh = true
	for _, name := range []string{partJournal, partData} {
		if err := p.root.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := p.root.WriteFile(partManifest, p.content.encoded, 0o600); err != nil {
		return err
	}
	if err := p.root.Mkdir(partData, 0o777); err != nil {
		return err
	}
	for i := range p.content.manifest.Files {
		if err := p.create(i); err != nil {
			return err
		}
	}
	for _, d := range p.content.manifest.Dirs {
		if err := p.root.MkdirAll(partData+"/"+d, 0o777); err != nil {
			return err
		}
	}
	if err := p.root.WriteFile(partJournal, newJournal(p.content.root), 0o600); err != nil {
		return err
	}
	return p.openJournal(int64(journalHeader))
}

// create makes one file. It must be new: two names that are one on this file system are noticed here.
func (p *part) create(file int) error {
	if p.placed[file] {
		return nil
	}
	f := p.content.manifest.Files[file]
	if err := p.root.MkdirAll(path.Dir(p.path(file)), 0o777); err != nil {
		return err
	}
	out, err := p.root.OpenFile(p.path(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode|0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %q is the same as another name on this file system", ErrName, f.Path)
	}
	if err != nil {
		return err
	}
	defer out.Close()
	if f.Size > groupSize {
		if err := reserve(out, f.Size); err != nil {
			return err
		}
	}
	return out.Truncate(f.Size)
}

func (p *part) openJournal(length int64) (err error) {
	if p.journal, err = p.root.OpenFile(partJournal, os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	return p.journal.Truncate(length)
}

// write stores the bytes of a chunk that was verified.
func (p *part) write(at place, data []byte) error {
	f, err := p.root.OpenFile(p.path(at.file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, at.offset); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// note records in content and journal a chunk that was written.
func (p *part) note(chunk int, leaf cv, siblings []cv) error {
	at := p.content.lay.place(chunk)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.journal.Write(journalEntry(at, leaf, p.content.takeChunk(chunk, leaf, siblings)))
	return err
}

// close lets go of everything and leaves the folder for a later attempt.
func (p *part) close() {
	if p.journal != nil {
		p.journal.Close()
		p.journal = nil
	}
	if p.root != nil {
		_ = p.root.Close()
		p.root = nil
	}
	if p.lock != nil {
		p.lock.Close()
		p.lock = nil
	}
}

// discard removes the folder too. The lock is dropped last where the system allows it.
func (p *part) discard() error {
	if runtime.GOOS == "windows" {
		p.close() // open files cannot be removed there
		return p.dir.RemoveAll(p.name)
	}
	err := p.dir.RemoveAll(p.name)
	p.close()
	return err
}
