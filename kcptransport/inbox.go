package kcptransport

import (
	"sync"
	"sync/atomic"
)

// Bounds of what waits for a loop.
const (
	maxQueuedPackets  = 4096  // of one link
	maxAllPackets     = 16384 // of all loops of an endpoint, 32 MiB: however many are flooded, they leave some for the next
	maxQueuedMessages = 1024
)

// inbox is where the goroutines that have something for a run loop leave it. All of it is handled in one turn, so that
// a loop that falls behind works in larger batches.
type inbox[M any] struct {
	wake   chan struct{} // holds a token when there may be something to do
	budget *atomic.Int64 // packets in all inboxes of the endpoint
	limit  int           // packets

	mu       sync.Mutex
	closed   bool
	packets  packetList
	messages []M
	dropped  uint64 // packets for which there was no room
}

func newInbox[M any](budget *atomic.Int64, limit int) *inbox[M] {
	return &inbox[M]{wake: make(chan struct{}, 1), budget: budget, limit: limit}
}

// poke makes the loop take a turn. It never blocks and may be called with any lock held.
func (b *inbox[M]) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// put leaves a message and reports whether the loop will see it: it does until it has ended.
func (b *inbox[M]) put(m M) bool { return b.add(m, false) }

// offer is put for a message that may get lost: it is refused when many wait.
func (b *inbox[M]) offer(m M) bool { return b.add(m, true) }

func (b *inbox[M]) add(m M, mayDrop bool) bool {
	b.mu.Lock()
	ok := !b.closed && (!mayDrop || len(b.messages) < maxQueuedMessages)
	if ok {
		b.messages = append(b.messages, m)
	}
	b.mu.Unlock()
	if ok {
		b.poke()
	}
	return ok
}

// deliver leaves packets, and takes them over in any case; those that there is no room for are dropped.
func (b *inbox[M]) deliver(list *packetList) {
	if list.n == 0 {
		return
	}
	b.mu.Lock()
	room := 0
	if !b.closed {
		free := maxAllPackets - int(b.budget.Load())
		room = max(0, min(b.limit, free/2)-b.packets.n) // nobody may have more than half of what is left for others
	}
	b.budget.Add(int64(min(room, list.n)))
	if list.n <= room {
		b.packets.append(list)
	} else {
		for ; room > 0; room-- {
			b.packets.push(list.pop())
		}
		b.dropped += uint64(list.n)
	}
	b.mu.Unlock()
	list.releaseAll()
	b.poke()
}

// take empties the inbox. messages is lent until the next call; spare is the slice of the call before.
func (b *inbox[M]) take(spare []M) (packets packetList, messages []M, dropped uint64) {
	clear(spare)
	select {
	case <-b.wake: // what it tells of is taken now
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	packets, messages = b.packets, b.messages
	b.packets, b.messages = packetList{}, spare[:0]
	b.budget.Add(-int64(packets.n))
	dropped, b.dropped = b.dropped, 0
	return packets, messages, dropped
}

// close drops what is in the inbox and whatever comes later.
func (b *inbox[M]) close() (messages []M) {
	b.mu.Lock()
	b.closed = true
	packets, messages := b.packets, b.messages
	b.packets, b.messages = packetList{}, nil
	b.mu.Unlock()
	b.budget.Add(-int64(packets.n))
	packets.releaseAll()
	return messages
}
