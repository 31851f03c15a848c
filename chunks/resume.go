package chunks

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// resume continues from a journal; false when there is none that fits.
func (p *part) resume(ctx context.Context, step func(n int)) (bool, error) {
	f, err := p.root.Open(partJournal)
	if err != nil {
		return false, nil // begin makes one
	}
	defer f.Close()
	claims, length, ok, err := readJournal(f, p.content)
	if err != nil || !ok {
		return false, err
	}
	for i := range p.content.manifest.Files {
		if err := p.recreate(i); err != nil {
			return false, err
		}
	}
	if err := p.recheck(ctx, claims, step); err != nil {
		return false, err
	}
	return true, p.openJournal(length)
}

// recreate makes a file anew that somebody removed or replaced since.
func (p *part) recreate(file int) error {
	if p.placed[file] {
		return nil
	}
	fi, err := p.root.Lstat(p.path(file))
	if err == nil && fi.Mode().IsRegular() && fi.Size() == p.content.manifest.Files[file].Size {
		return nil
	}
	if err == nil {
		if err := p.root.RemoveAll(p.path(file)); err != nil {
			return err
		}
	}
	return p.create(file)
}

// recheck hashes the chunks that the journal claims and records those that are right.
func (p *part) recheck(ctx context.Context, claims bitmap, step func(n int)) error {
	c := p.content
	buffers := newBufferPool(c.manifest.ChunkSize)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for chunk := claims.nextCommon(nil, 0); chunk >= 0 && ctx.Err() == nil; chunk = claims.nextCommon(nil, chunk+1) {
		at := c.lay.place(chunk)
		want := c.expected(at)
		if want == (cv{}) || p.placed[at.file] {
			continue
		}
		g.Go(func() error {
			buf := buffers.get()
			defer buffers.put(buf)
			data := (*buf)[:at.size]
			if err := c.readAt(at.file, data, at.offset); err != nil {
				return nil // it is fetched again
			}
			if _, got := chunkCV(nil, data, at.offset, at.count == 1); got == want {
				c.recover(chunk)
				step(len(data))
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// recover records a chunk that an earlier attempt stored.
func (c *Content) recover(chunk int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(chunk)
	c.order = append(c.order, uint32(chunk))
}

// findManifest returns the manifest that an earlier attempt to fetch root left behind, or nil.
func findManifest(dir *os.Root, root Root) []byte {
	names, err := listFolder(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if !strings.HasSuffix(name, partMark+root.Short()) {
			continue
		}
		f, err := dir.Open(name + "/" + partManifest)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(f, MaxManifest+1))
		f.Close()
		if err == nil && rootOf(b) == root {
			return b
		}
	}
	return nil
}
