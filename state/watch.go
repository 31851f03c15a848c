package state

import (
	"context"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// A Change tells that a key has another value, or none any more.
type Change struct {
	Key     string
	Value   cbor.RawMessage // nil when Deleted
	Deleted bool
	Version Version // of the newest write
}

// watcher collects the keys that changed since its channel was read: a slow
// reader gets the latest value of each key, and nothing is kept for it but keys.
type watcher struct {
	prefix string
	wake   chan struct{} // holds one token when pending grew
	done   chan struct{}
	once   sync.Once

	order   []string // guarded by the map's mutex
	pending map[string]bool
}

func (w *watcher) stop() { w.once.Do(func() { close(w.done) }) }

// tellWatchers notes a change. m.mu is held.
func (m *Map) tellWatchers(key string) {
	for w := range m.watchers {
		if !strings.HasPrefix(key, w.prefix) || w.pending[key] {
			continue
		}
		w.pending[key] = true
		w.order = append(w.order, key)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch returns a channel of changes to keys that begin with prefix, of this
// node and others. It is closed when ctx ends or the map is closed. A reader
// that is slow misses values in between, never the latest.
func (m *Map) Watch(ctx context.Context, prefix string) <-chan Change {
	w := &watcher{prefix: prefix, wake: make(chan struct{}, 1), done: make(chan struct{}), pending: map[string]bool{}}
	out := make(chan Change)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		close(out)
		return out
	}
	m.watchers[w] = true
	m.watching.Go(func() { m.watch(ctx, w, out) })
	return out
}

func (m *Map) watch(ctx context.Context, w *watcher, out chan<- Change) {
	defer close(out)
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, w)
	}()
	for {
		c, ok := m.nextChange(w)
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-w.done:
				return
			case <-w.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-w.done:
			return
		case out <- c:
		}
	}
}

func (m *Map) nextChange(w *watcher) (Change, bool) {
	m.mu.Lock()
	if len(w.order) == 0 {
		m.mu.Unlock()
		return Change{}, false
	}
	key := w.order[0]
	w.order = w.order[1:]
	delete(w.pending, key)
	m.mu.Unlock()
	live, version := m.live(key)
	c := Change{Key: key, Deleted: len(live) == 0, Version: version}
	if !c.Deleted {
		c.Value = m.fold(key, live)
	}
	return c, true
}
