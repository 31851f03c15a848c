package chunks

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// bufferPool lends buffers of one chunk.
type bufferPool struct{ pool sync.Pool }

func newBufferPool(size int) *bufferPool {
	return &bufferPool{sync.Pool{New: func() any { b := make([]byte, size); return &b }}}
}

func (p *bufferPool) get() *[]byte  { return p.pool.Get().(*[]byte) }
func (p *bufferPool) put(b *[]byte) { p.pool.Put(b) }

// hasher hashes files with all processors.
type hasher struct {
	chunkSize int
	buffers   *bufferPool
	step      func(n int) // told after n more bytes, by several goroutines; may be nil
}

func newHasher(chunkSize int, step func(int)) *hasher {
	return &hasher{chunkSize, newBufferPool(chunkSize), step}
}

// file returns the values of the chunks of a file that has size bytes, and its hash.
func (h *hasher) file(ctx context.Context, f io.ReaderAt, size int64) ([]cv, [32]byte, error) {
	n := int(chunksOf(size, h.chunkSize))
	if n == 0 {
		return nil, emptyHash, nil
	}
	leaves := make([]cv, n)
	if n == 1 {
		err := h.chunk(f, 0, size, leaves, true)
		return leaves, hashOf(leaves[0]), err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range leaves {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return h.chunk(f, i, size, leaves, false) })
	}
	if err := g.Wait(); err != nil {
		return nil, [32]byte{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, [32]byte{}, err
	}
	top := append([]cv(nil), leaves...)
	return leaves, hashOf(mergeAll(top, true)), nil
}

func (h *hasher) chunk(f io.ReaderAt, i int, size int64, leaves []cv, root bool) error {
	buf := h.buffers.get()
	defer h.buffers.put(buf)
	offset := int64(i) * int64(h.chunkSize)
	data := (*buf)[:min(int64(h.chunkSize), size-offset)]
	if _, err := f.ReadAt(data, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it became shorter while it was read")
		}
		return err
	}
	var groups [maxChunk / groupSize]cv
	_, leaves[i] = chunkCV(groups[:0], data, offset, root)
	if h.step != nil {
		h.step(len(data))
	}
	return nil
}

func hashOf(v cv) (out [32]byte) {
	appendCV(out[:0], v)
	return out
}

// same reports whether an open file holds exactly what want says, and the values of its chunks.
func (h *hasher) same(ctx context.Context, f *os.File, want File) ([]cv, bool, error) {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != want.Size {
		return nil, false, err
	}
	leaves, hash, err := h.file(ctx, f, want.Size)
	return leaves, err == nil && hash == want.Hash, err
}
