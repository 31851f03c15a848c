package netsim

import "time"

// congestion is how much of a stream may be under way, by RFC 5681, and the round
// trip times that say when a segment is lost, by RFC 6298 without the variance.
type congestion struct {
	window, threshold int // bytes
	duplicates        int // acknowledgements of the same
	recovering        bool
	recover           uint64 // what was sent when the last loss was noticed

	srtt, rto time.Duration
	timed     uint64 // the sequence number whose acknowledgement is timed
	sentAt    int64
	timing    bool
}

func (g *congestion) begin() {
	g.window, g.threshold, g.rto = 1, tcpWindow, firstRTO
}

// opened is for the end of the handshake (RFC 6928, section 2).
func (g *congestion) opened(mss int) { g.window = 10 * mss }

// sent times a segment that was sent for the first time.
func (g *congestion) sent(at int64, end uint64) {
	if !g.timing {
		g.timed, g.sentAt, g.timing = end, at, true
	}
}

// acked is for an acknowledgement of size bytes more, up to ack. It reports whether the
// first segment that is left was lost, too (RFC 6582).
func (g *congestion) acked(at int64, ack uint64, size, mss int) (lost bool) {
	if g.timing && ack >= g.timed {
		g.timing = false
		g.measured(time.Duration(at - g.sentAt))
	} else if g.srtt > 0 {
		g.measured(g.srtt) // ends a backoff
	}
	g.duplicates = 0
	if g.recovering {
		g.recovering = ack < g.recover
		return g.recovering
	}
	if g.window < g.threshold {
		g.window += size
	} else {
		g.window += max(1, mss*size/g.window)
	}
	g.window = min(g.window, tcpWindow)
	return false
}

func (g *congestion) measured(rtt time.Duration) {
	if g.srtt == 0 {
		g.srtt = rtt
	}
	g.srtt += (rtt - g.srtt) / 8
	g.rto = min(max(minRTO, 2*g.srtt), maxRTO)
}

// duplicate is for an acknowledgement that says nothing new. It reports whether the
// first segment was lost.
func (g *congestion) duplicate(una, top uint64, mss int) bool {
	g.duplicates++
	if g.duplicates != 3 || una < g.recover {
		return false
	}
	g.window = g.lost(una, top, mss)
	g.recovering = true
	return true
}

// expired is for a timeout.
func (g *congestion) expired(una, top uint64, mss int) {
	g.lost(una, top, mss)
	g.window, g.recovering, g.duplicates = mss, false, 0
	g.rto = min(2*g.rto, maxRTO)
}

func (g *congestion) lost(una, top uint64, mss int) int {
	g.threshold = max(int(top-una)/2, 2*mss)
	g.recover, g.timing = top, false
	return g.threshold
}
