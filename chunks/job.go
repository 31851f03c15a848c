package chunks

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// job is what a fetcher works on once the manifest is known. content and part may be used by all its goroutines, the
// rest by the fetcher's loop only.
type job struct {
	content  *Content
	part     *part
	picker   *picker
	size     int64
	have     int64 // bytes
	finished bool
}

// begin reads the manifest, looks at what is there already and gets ready to write.
func (f *fetcher) begin(ctx context.Context, encoded []byte) error {
	m, err := ParseManifest(encoded)
	if err != nil {
		return err
	}
	size := m.Size()
	if f.cfg.MaxBytes > 0 && size > f.cfg.MaxBytes {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrTooLarge, size, f.cfg.MaxBytes)
	}
	if f.cfg.Accept != nil {
		if err := f.cfg.Accept(m); err != nil {
			return err
		}
	}
	j := &job{content: newContent(m, encoded), size: size}
	f.job = j
	f.report(time.Now(), StageVerifying, true)
	var mu sync.Mutex // files are hashed by several goroutines while the loop waits here
	step := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		j.have += int64(n)
		f.report(time.Now(), StageVerifying, false)
	}
	placed, err := survey(ctx, f.dir, j.content, f.cfg.Overwrite, step)
	if err != nil {
		return err
	}
	if j.part, err = openPart(f.dir, j.content, placed); err != nil {
		return err
	}
	if err := j.part.prepare(ctx, step); err != nil {
		return err
	}
	j.picker = newPicker(j.content.lay, j.content.have, f.cfg.Server != nil || len(f.sources) > 1, f.random)
	j.have = 0
	for c := range j.content.lay.chunks() {
		if j.content.have.has(c) {
			j.have += int64(j.content.lay.size(c))
		}
	}
	f.result.Bytes, f.result.Reused = size, j.have
	if f.cfg.Server != nil && f.cfg.Server.Content(j.content.root) == nil {
		f.cfg.Server.Add(j.content)
	}
	now := time.Now()
	f.useful = now
	f.report(now, StageFetching, true)
	return nil
}

// abandon lets go of an unfinished download; one that holds nothing is removed.
func (f *fetcher) abandon() {
	j := f.job
	if j == nil || j.finished {
		return
	}
	if f.cfg.Server != nil && f.cfg.Server.Content(j.content.root) == j.content {
		f.cfg.Server.Remove(j.content.root)
	}
	if j.part == nil {
		return
	}
	if j.part.fresh && f.result.Fetched == 0 {
		j.part.discard() //nolint:errcheck // Fetch has failed already, and a rest harms nobody
		return
	}
	j.part.close()
}
