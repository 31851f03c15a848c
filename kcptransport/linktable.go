package kcptransport

import (
	"fmt"
	"slices"
	"sync"
)

// linkTable is what the goroutines of an endpoint share: which link packets and calls belong to.
type linkTable struct {
	mu      sync.RWMutex
	closed  bool
	indices map[uint32]*Link // nil: a handshake is under way
	links   map[PeerID]*Link
	loops   sync.WaitGroup
}

func newLinkTable() *linkTable {
	return &linkTable{indices: make(map[uint32]*Link), links: make(map[PeerID]*Link)}
}

// link returns the link to a peer, nil when there is none.
func (t *linkTable) link(peer PeerID) *Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.links[peer]
}

func (t *linkTable) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.links)
}

// all returns the links ordered by peer.
func (t *linkTable) all() []*Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*Link, 0, len(t.links))
	for _, l := range t.links {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *Link) int { return a.peer.Compare(b.peer) })
	return list
}

// reserve enters an index for a handshake and reports whether it was free.
func (t *linkTable) reserve(index uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, taken := t.indices[index]
	if taken || index == 0 {
		return false
	}
	t.indices[index] = nil
	return true
}

// assign gives an index to a link.
func (t *linkTable) assign(index uint32, l *Link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.indices[index] = l
}

func (t *linkTable) dropIndex(index uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.indices, index)
}

// lookup returns whom an index belongs to: a link, or with nil the handshaker.
func (t *linkTable) lookup(index uint32) (l *Link, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok = t.indices[index]
	return l, ok
}

var errTableClosed = fmt.Errorf("kcptransport: making a link: %w", ErrClosed)

// addLink enters a link in the place of an older one and starts its loop.
func (t *linkTable) addLink(l *Link, loop *linkLoop) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTableClosed
	}
	t.links[l.peer] = l
	t.loops.Go(loop.run)
	return nil
}

// removeLink forgets a link that has ended, unless another one has taken its place.
func (t *linkTable) removeLink(l *Link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.links[l.peer] == l {
		delete(t.links, l.peer)
	}
}

// close keeps further links out.
func (t *linkTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}
