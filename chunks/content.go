package chunks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Content is a manifest together with the place where its bytes are: original files, or a download that is whole or
// still under way. It opens a file for each chunk it reads and keeps none open. Goroutines may share it.
type Content struct {
	manifest *Manifest
	encoded  []byte
	root     Root
	lay      layout
	skipped  []string

	mu    sync.RWMutex
	trees []*tree // per file; nil for files of one chunk or none, whose hash says it all
	have  bitmap
	left  int      // chunks not had yet
	order []uint32 // chunks in the order they came, when the content was not whole from the start
	open  func(file int) (*os.File, error)
}

var (
	errChanged = errors.New("the file changed")
	errMissing = errors.New("the chunk is not here")
)

// newContent makes a Content that has nothing yet.
func newContent(m *Manifest, encoded []byte) *Content {
	c := &Content{manifest: m, encoded: encoded, root: rootOf(encoded), lay: newLayout(m)}
	c.trees = make([]*tree, len(m.Files))
	c.left = c.lay.chunks()
	c.have = newBitmap(c.left)
	return c
}

// Root returns the name of the content.
func (c *Content) Root() Root { return c.root }

// Manifest returns what the content consists of; it must not be changed.
func (c *Content) Manifest() *Manifest { return c.manifest }

// Skipped returns the paths that Add left out because AddConfig.SkipSpecial was set.
func (c *Content) Skipped() []string { return c.skipped }

// Complete reports whether every chunk is here.
func (c *Content) Complete() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.left == 0
}

func (c *Content) has(chunk int) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.have.has(chunk)
}

// takeFile records a file that is whole; leaves are its chunks' values.
func (c *Content) takeFile(file int, leaves []cv) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(leaves) > 1 {
		c.trees[file] = buildTree(leaves)
	}
	for n := c.lay.first[file]; n < c.lay.first[file+1]; n++ {
		c.take(n)
	}
}

func (c *Content) take(chunk int) {
	if !c.have.has(chunk) {
		c.have.set(chunk)
		c.left--
	}
}

// takeChunk records a chunk that was verified and stored, and returns the values that were new.
func (c *Content) takeChunk(chunk int, leaf cv, siblings []cv) []node {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(chunk)
	c.order = append(c.order, uint32(chunk))
	p := c.lay.place(chunk)
	if p.count == 1 {
		return []node{{0, 0, leaf}}
	}
	if c.trees[p.file] == nil {
		c.trees[p.file] = newTree(p.count)
	}
	return c.trees[p.file].learn(nil, p.index, leaf, siblings)
}

// news tells which chunks came after the first since of them. Without list, the whole set is the answer.
func (c *Content) news(since uint32) (body []byte, all, list bool, seq uint32) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	seq = uint32(len(c.order))
	if c.left == 0 {
		return nil, true, false, seq
	}
	n := c.lay.chunks()
	if since > 0 && since <= seq && 4*int(seq-since) < n/8 {
		for _, chunk := range c.order[since:] {
			body = append(body, byte(chunk>>24), byte(chunk>>16), byte(chunk>>8), byte(chunk))
		}
		return body, false, true, seq
	}
	return c.have.bytes(n), false, false, seq
}

// proof returns the place of a chunk that is here, its expected value and its siblings' up to the file's hash.
func (c *Content) proof(chunk int) (p place, want cv, siblings []cv, err error) {
	if chunk < 0 || chunk >= c.lay.chunks() {
		return p, want, nil, errMissing
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.have.has(chunk) {
		return p, want, nil, errMissing
	}
	p = c.lay.place(chunk)
	t := c.trees[p.file]
	if t == nil {
		return p, cvFrom(c.manifest.Files[p.file].Hash[:]), nil, nil
	}
	return p, t.levels[0][p.index], t.proof(nil, p.index), nil
}

// chunkProof is what lets a receiver verify a chunk, see the package comment.
type chunkProof struct{ siblings, groups []cv }

// readChunk reads a chunk into buf, whose length must be at least ChunkSize, and verifies it. errMissing: it is not
// here. errChanged: the bytes are not what was shared any more. Other errors come from the file system.
func (c *Content) readChunk(buf []byte, chunk int) (data []byte, proof chunkProof, err error) {
	p, want, siblings, err := c.proof(chunk)
	if err != nil {
		return nil, chunkProof{}, err
	}
	data = buf[:p.size]
	if err := c.readAt(p.file, data, p.offset); err != nil {
		return nil, chunkProof{}, err
	}
	groups, got := chunkCV(nil, data, p.offset, p.count == 1)
	if got != want {
		return nil, chunkProof{}, fmt.Errorf("%w: %s", errChanged, c.manifest.Files[p.file].Path)
	}
	return data, chunkProof{siblings, groups}, nil
}

// readAt fills b from one file; a file that is gone, short or something else now counts as changed.
func (c *Content) readAt(file int, b []byte, offset int64) error {
	c.mu.RLock()
	open := c.open
	c.mu.RUnlock()
	f, err := open(file)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no regular file", errChanged, f.Name())
	}
	if _, err = f.ReadAt(b, offset); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s is shorter", errChanged, f.Name())
	}
	return err
}

// moved says where files are from now on.
func (c *Content) moved(open func(file int) (*os.File, error)) {
	c.mu.Lock()
	c.open = open
	c.mu.Unlock()
}

// Verify reads everything that is here again and returns an error that names the first file that is not what was
// shared.
func (c *Content) Verify(ctx context.Context) error {
	buf := make([]byte, c.manifest.ChunkSize)
	for chunk := range c.lay.chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, _, err := c.readChunk(buf, chunk); err != nil && !errors.Is(err, errMissing) {
			return fmt.Errorf("chunks: verifying %s: %w", c.root.Short(), err)
		}
	}
	return nil
}

// openShared opens a file for reading. It does not wait when somebody has put a named pipe in its place.
func openShared(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
