package kcptransport

// replayWindow remembers which packet numbers were received, so that none counts twice (RFC 6479). Its zero value is
// ready to use. It belongs to one goroutine.
//
// The window is wide because packets of one link may travel several paths at once: 8,128 numbers are 80 ms of
// difference between two paths at 100,000 packets a second.
type replayWindow struct {
	highest uint64 // the highest number marked, 0 at first
	ring    [replayBlocks]uint64
}

const (
	replayBlockBits = 64
	replayBlocks    = 128 // a power of two
	// replaySize is how far below the highest number a packet may be: one block is being refilled while it is in use.
	replaySize = (replayBlocks - 1) * replayBlockBits
)

// fresh reports whether n was neither marked before nor is too old to tell.
func (w *replayWindow) fresh(n uint64) bool {
	switch {
	case n > w.highest:
		return true
	case w.highest-n >= replaySize:
		return false
	}
	return w.ring[n/replayBlockBits%replayBlocks]&(1<<(n%replayBlockBits)) == 0
}

// mark records n, which must be fresh. Call it only when the packet has been authenticated.
func (w *replayWindow) mark(n uint64) {
	block := n / replayBlockBits
	if n > w.highest {
		last := w.highest / replayBlockBits
		for i := range min(block-last, replayBlocks) { // clear the blocks the window moves into
			w.ring[(last+1+i)%replayBlocks] = 0
		}
		w.highest = n
	}
	w.ring[block%replayBlocks] |= 1 << (n % replayBlockBits)
}
