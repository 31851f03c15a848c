package kcptransport

import "time"

const (
	maxReorder       = 16 // steps of the reordering window
	maxTailDoublings = 6  // of the pause between probes
	maxTailWait      = 2 * time.Second
	firstSegments    = 4 // of a stream, that are sent again when the peer has come up elsewhere
)

// learn takes what the acknowledgements of the batch say about the path.
func (m *mux) learn() {
	for _, mark := range m.marks {
		if c := mark.conv; !c.dead && c.send.has(mark.sn) {
			c.mark(mark.sn)
		}
	}
	clear(m.marks)
	m.marks = m.marks[:0]
	b := &m.log.batch
	if b.any {
		m.lastAck, m.probes = m.now, 0
	}
	if b.rtt > 0 {
		m.trip.update(m.now, b.rtt)
	}
	for _, c := range m.touched {
		if c.dead {
			continue
		}
		if b.rtt > 0 && b.newest.conv == c.id {
			c.sampleRTT(b.rttTS, min(b.rtt, 10*time.Second))
		} else {
			c.tellWindow()
		}
	}
	m.adaptReorder(b.spurious)
	m.findLosses()
}

// adaptReorder widens the reordering window when something arrived that was taken for lost (RFC 8985 section 6.2, step 4).
// A path that reorders once is expected to do so again, for a minute.
func (m *mux) adaptReorder(spurious int) {
	m.counts.Spurious += uint64(spurious)
	since := m.now - m.reorderAt
	switch {
	case spurious > 0 && (m.reorder == 0 || since > m.trip.smoothed):
		m.reorder = min(m.reorder+1, maxReorder)
	case m.reorder > 1 && since > 16*m.trip.smoothed+time.Second, m.reorder == 1 && since > time.Minute:
		m.reorder--
	default:
		return
	}
	m.reorderAt = m.now
}

// reorderWindow is how much later than others something may arrive before it counts as lost.
func (m *mux) reorderWindow() time.Duration {
	w := m.trip.min / 16
	if m.reorder > 0 {
		w = m.trip.min / 4 * time.Duration(m.reorder)
	}
	return max(min(w, m.trip.smoothed), time.Duration(1+m.reorder)*2*time.Millisecond)
}

// findLosses looks for transmissions that must be lost, and has them repeated.
func (m *mux) findLosses() {
	m.lossAt = m.log.detect(m.now, m.trip.smoothed, m.reorderWindow(), m.lose)
	m.repairAll()
}

// lose counts a transmission as lost.
func (m *mux) lose(t *transmission) {
	m.counts.Lost++
	if t.epoch != m.log.epoch {
		m.counts.LostBefore++
	}
	if c := m.convs[t.conv]; c != nil {
		c.lost(t)
	}
}

// repairAll has what counts as lost sent again.
func (m *mux) repairAll() {
	for _, c := range m.losing {
		c.repair()
	}
	clear(m.losing)
	m.losing = m.losing[:0]
	if s := m.log.sample(m.now); s.acked > 0 || s.lost > 0 {
		m.ctrl.onAck(s)
	}
}

// probeAt returns when an acknowledgement is overdue (RFC 8985 section 7), 0 = none is awaited.
func (m *mux) probeAt() time.Duration {
	if m.log.inflight == 0 {
		return 0
	}
	m.log.advanceOldest()
	wait := m.trip.probeTimeout()
	since := max(m.log.at(m.log.oldest).sentAt, m.lastAck)
	if m.probes > 0 {
		wait = min(wait<<min(m.probes, maxTailDoublings), max(maxTailWait, wait))
		since = m.lastProbe
	}
	return max(since+wait, 1)
}

// probe sends something again, to find out what arrived.
func (m *mux) probe() {
	t := m.log.at(m.log.oldest)
	m.probes++
	m.lastProbe = m.now
	m.counts.Probes++
	if c := m.convs[t.conv]; c != nil {
		c.probe(t)
	} else {
		m.log.forget(t)
	}
	m.findLosses()
}

// repairNow is called when the peer has come up elsewhere: what is sent next goes there, and little of it. It is the latest
// data, whose acknowledgement will tell what got lost, and then what the peer waits for, although it may have arrived: the
// first segments of a stream of which later ones did.
func (m *mux) repairNow(now time.Time) {
	m.setNow(now)
	if m.closed || m.log.inflight == 0 {
		return
	}
	m.log.loseIf(func(t *transmission) bool {
		c := m.convs[t.conv]
		return c != nil && c.provokable() && t.sn-c.send.una < firstSegments
	}, m.lose)
	m.repairAll()
	if m.log.inflight > 0 {
		m.log.advanceOldest()
		m.probe()
	}
	m.fill()
}

// pathChanged says that what is sent from now on travels by another path. When it leads to the same host, only the port
// has changed: that is a NAT that forgot, and what was learnt of the path holds (RFC 9000 section 9.4).
func (m *mux) pathChanged(now time.Time, sameHost bool) {
	m.setNow(now)
	m.log.epoch++
	m.log.batch = txBatch{}
	if !sameHost {
		m.trip = rttEstimator{}
		m.ctrl.reset(m.now, 0)
		m.pace = pacer{at: m.now, credit: pacingMin}
	}
	m.retry()
}

// hintRTT tells the round trip of the path as probes measured it; it is used until data measures it.
func (m *mux) hintRTT(rtt time.Duration) {
	if m.trip.smoothed == 0 && rtt > 0 {
		m.trip.hint(rtt)
		m.ctrl.reset(m.now, rtt)
	}
}

// oldestFlight returns when the oldest data left that is not acknowledged yet; false when all is.
func (m *mux) oldestFlight() (time.Time, bool) {
	if m.log.inflight == 0 {
		return time.Time{}, false
	}
	m.log.advanceOldest()
	return m.start.Add(m.log.at(m.log.oldest).sentAt), true
}

// marked says that relays on the way have marked packets of ours.
func (m *mux) marked(now time.Time) {
	m.setNow(now)
	m.ctrl.onMark(m.now)
}

// resendBurst returns how many packets of each part to send once more at a time: about as many as the path took.
func (m *mux) resendBurst() int {
	n := m.ctrl.delivery() * resendPause.Seconds() / float64(2*m.cfg.maxPayload)
	return int(min(max(n, resendBurst), resendBursts))
}

// retry makes the next probe due at once: what was sent before may be lost.
func (m *mux) retry() {
	if m.log.inflight > 0 {
		m.probes, m.lastProbe, m.lastAck = 1, m.now-maxTailWait-m.trip.probeTimeout(), m.now
	}
}
