package kcptransport

import "time"

const (
	sparsePeriod = 20 * time.Millisecond
	sparseStream = 4 << 10  // bytes that one stream may send ahead of others in a period
	sparseTotal  = 32 << 10 // that all may, at most; on a slow path a quarter of what it carries
)

// sparseBudget decides which segments may overtake those of streams that send a lot, as fair queueing does (RFC 8290
// section 4.2): a message does not wait behind a file. What overtakes is bounded, so that many such streams are paced
// like everybody else.
type sparseBudget struct {
	began time.Duration
	spent int
}

// take reports whether a conversation may send a segment of so many bytes ahead, and accounts for it. rate is what the
// path carries in bytes a second, 0 = not known.
func (b *sparseBudget) take(now time.Duration, s *sending, size int, rate float64) bool {
	if now-s.spentIn >= sparsePeriod {
		s.spentIn, s.spent = now, 0
	}
	if now-b.began >= sparsePeriod {
		b.began, b.spent = now, 0
	}
	s.spent += size
	total := sparseTotal
	if rate > 0 {
		total = min(total, int(rate*sparsePeriod.Seconds()/4))
	}
	if s.spent > sparseStream || b.spent > total {
		return false
	}
	b.spent += size
	return true
}
