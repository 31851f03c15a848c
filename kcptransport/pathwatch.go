package kcptransport

import (
	"slices"
	"sync"
)

// maxPathEvents bounds what waits for a watcher that is slow; the oldest are dropped.
const maxPathEvents = 64

// pathWatchers call the functions given to OnPath: each gets its events in order, on a goroutine that exists only while
// there are some.
type pathWatchers struct {
	mu   sync.Mutex
	list []*pathWatcher
}

type pathWatcher struct {
	f func(PathInfo)

	// guarded by pathWatchers.mu
	queue   []PathInfo
	running bool
	stopped bool
}

func (w *pathWatchers) add(f func(PathInfo)) *pathWatcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &pathWatcher{f: f}
	w.list = append(w.list, p)
	return p
}

func (w *pathWatchers) remove(p *pathWatcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.stopped, p.queue = true, nil
	w.list = slices.DeleteFunc(w.list, func(q *pathWatcher) bool { return q == p })
}

// tell queues an event for p; ep waits for the goroutine when it closes.
func (w *pathWatchers) tell(ep *Endpoint, p *pathWatcher, info PathInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked(ep, p, info)
}

// tellAll queues an event for everybody.
func (w *pathWatchers) tellAll(ep *Endpoint, info PathInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.list {
		w.tellLocked(ep, p, info)
	}
}

func (w *pathWatchers) tellLocked(ep *Endpoint, p *pathWatcher, info PathInfo) {
	if p.stopped {
		return
	}
	if len(p.queue) == maxPathEvents {
		p.queue = slices.Delete(p.queue, 0, 1)
	}
	p.queue = append(p.queue, info)
	if !p.running {
		p.running = true
		ep.callbacks.Go(func() { w.run(p) })
	}
}

func (w *pathWatchers) run(p *pathWatcher) {
	for {
		w.mu.Lock()
		if len(p.queue) == 0 {
			p.running = false
			w.mu.Unlock()
			return
		}
		info := p.queue[0]
		p.queue = p.queue[1:]
		w.mu.Unlock()
		p.f(info)
	}
}
