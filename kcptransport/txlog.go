package kcptransport

import "time"

// A transmission is one sending of one KCP segment.
type transmission struct {
	num       uint32 // travels in the ts field
	conv, sn  uint32
	kcpTS     uint32 // the millisecond clock of the kcp package when it let the segment go
	size      int32
	state     txState
	idle      bool // sent while there was too little to send to fill the path
	gentle    bool // sent more slowly than the path delivers
	epoch     uint8
	sentAt    time.Duration
	delivered int64         // bytes delivered when it was sent,
	deliverAt time.Duration // when that was,
	firstSent time.Duration // and when the transmission that delivered them was sent
}

type txState uint8

const (
	txForgotten txState = iota // not of interest any more
	txFlying
	txAcked
	txLost
)

const (
	txLogMin = 64
	txLogMax = 1 << 15
)

// txLog remembers the transmissions of a link in the order of their sending until their fate is known. From it come
// what is in flight, the delivery rate (draft-cheng-iccrg-delivery-rate-estimation) and what is lost (RFC 8985). It has
// no clock: now is the time since the mux began.
type txLog struct {
	ring         []transmission // transmission num is at num % len(ring); nil while there is none
	oldest, next uint32         // those before oldest have been decided

	inflight  int   // bytes sent whose fate is open
	delivered int64 // bytes that arrived, ever
	deliverAt time.Duration
	firstSent time.Duration
	idleUntil int64 // transmissions are marked idle until delivered passes this; 0 = not idle
	epoch     uint8
	gentle    bool // transmissions are marked so

	newestAcked uint32 // RACK: the latest transmission that is known to have arrived,
	newestSent  time.Duration
	anyAcked    bool

	batch txBatch
}

// gentleSample is what became of transmissions that were sent more slowly than the path delivers, in bytes. What of them is lost
// is lost by chance.
type gentleSample struct{ sent, lost int }

// txBatch is what the acknowledgements of one batch said.
type txBatch struct {
	acked, lost int           // bytes
	found       int           // bytes taken for lost that arrived
	gentle      gentleSample  // of those that were marked so
	any         bool          // something arrived
	newest      transmission  // of those that arrived by the path in use; num 0 = none
	rtt         time.Duration // of the newest transmission acknowledged by name; 0 = none
	rttTS       uint32        // its kcpTS
	spurious    int           // transmissions taken for lost that arrived
}

func (l *txLog) at(num uint32) *transmission { return &l.ring[num&uint32(len(l.ring)-1)] }

// get returns transmission num if it is remembered.
func (l *txLog) get(num uint32) *transmission {
	if len(l.ring) == 0 {
		return nil
	}
	if t := l.at(num); t.num == num && num != 0 && before(num, l.next) {
		return t
	}
	return nil
}

// send notes a transmission and returns its number.
func (l *txLog) send(now time.Duration, conv, sn, kcpTS uint32, size int) uint32 {
	if l.next-l.oldest == uint32(len(l.ring)) {
		l.makeRoom()
	}
	if l.inflight == 0 {
		l.firstSent, l.deliverAt = now, now
	}
	num := l.next
	l.next++
	if l.next == 0 { // 0 means none
		l.next = 1
	}
	*l.at(num) = transmission{
		num: num, conv: conv, sn: sn, kcpTS: kcpTS, size: int32(size), state: txFlying, idle: l.idleUntil != 0, gentle: l.gentle,
		epoch: l.epoch, sentAt: now, delivered: l.delivered, deliverAt: l.deliverAt, firstSent: l.firstSent,
	}
	l.inflight += size
	return num
}

func (l *txLog) makeRoom() {
	if len(l.ring) == txLogMax { // the oldest fate was open for far too long
		t := l.at(l.oldest)
		l.drop(t, txLost)
		l.oldest++
		return
	}
	old := l.ring
	l.ring = make([]transmission, max(2*len(old), txLogMin))
	for i := range old {
		if t := &old[i]; t.num != 0 {
			*l.at(t.num) = *t
		}
	}
}

// drop ends the flight of t.
func (l *txLog) drop(t *transmission, state txState) {
	if t.state == txFlying {
		l.inflight -= int(t.size)
	}
	t.state = state
}

// ack notes that t arrived. byName says that its own acknowledgement came (which gives a round trip), not only one
// that covers it.
func (l *txLog) ack(now time.Duration, t *transmission, byName bool) {
	if t.state == txAcked || t.state == txForgotten {
		return
	}
	if t.state == txLost {
		l.batch.spurious++
		if t.epoch == l.epoch {
			l.batch.found += int(t.size)
			if t.gentle {
				l.batch.gentle.sent -= int(t.size)
				l.batch.gentle.lost -= int(t.size)
			}
		}
	}
	l.drop(t, txAcked)
	l.delivered += int64(t.size)
	l.deliverAt = now
	if l.idleUntil != 0 && l.delivered > l.idleUntil {
		l.idleUntil = 0
	}
	if !l.anyAcked || before(l.newestAcked, t.num) {
		l.newestAcked, l.newestSent, l.anyAcked = t.num, t.sentAt, true
	}
	l.batch.any = true
	if t.epoch != l.epoch {
		return
	}
	l.batch.acked += int(t.size)
	if t.gentle {
		l.batch.gentle.sent += int(t.size)
	}
	if l.batch.newest.num == 0 || before(l.batch.newest.num, t.num) {
		l.batch.newest = *t
		l.firstSent = t.sentAt
		if byName {
			l.batch.rtt, l.batch.rttTS = max(now-t.sentAt, time.Microsecond), t.kcpTS
		}
	}
}

// forget ends the flight of t without saying that it arrived or was lost.
func (l *txLog) forget(t *transmission) { l.drop(t, txForgotten) }

// lose ends the flight of t as lost.
func (l *txLog) lose(t *transmission) {
	if t.state == txFlying && t.epoch == l.epoch {
		l.batch.lost += int(t.size)
		if t.gentle {
			l.batch.gentle.sent += int(t.size)
			l.batch.gentle.lost += int(t.size)
		}
	}
	if t.state == txFlying {
		l.drop(t, txLost)
	}
}

// detect calls lost for every transmission that must be lost, because one sent later by more than reorder arrived
// (RFC 8985 section 6.2, step 5). It returns when it should be asked again if no acknowledgement comes before; 0 = never.
func (l *txLog) detect(now, rtt, reorder time.Duration, lost func(*transmission)) (again time.Duration) {
	l.advanceOldest()
	if !l.anyAcked {
		return 0
	}
	for num := l.oldest; before(num, l.newestAcked); num++ {
		t := l.at(num)
		if t.num != num || t.state != txFlying {
			continue
		}
		if due := t.sentAt + rtt + reorder; due > now && t.sentAt+reorder > l.newestSent {
			again = due // those after it were sent later
			break
		}
		l.lose(t)
		lost(t)
	}
	l.advanceOldest()
	return again
}

// loseIf calls lost for those transmissions in flight that a function names.
func (l *txLog) loseIf(named func(*transmission) bool, lost func(*transmission)) {
	for num := l.oldest; before(num, l.next); num++ {
		if t := l.at(num); t.num == num && t.state == txFlying && named(t) {
			l.lose(t)
			lost(t)
		}
	}
	l.advanceOldest()
}

// advanceOldest passes what has been decided. Those it passes may still be looked up until they are overwritten.
func (l *txLog) advanceOldest() {
	for before(l.oldest, l.next) {
		if t := l.at(l.oldest); t.num == l.oldest && t.state == txFlying {
			return
		}
		l.oldest++
	}
}

// idle says that there is nothing to send although the path has room: samples until then say nothing about the path.
func (l *txLog) idle() { l.idleUntil = max(l.delivered+int64(l.inflight), 1) }

// sample closes the batch and returns what the controller should know of it.
func (l *txLog) sample(now time.Duration) ackSample {
	b := &l.batch
	s := ackSample{now: now, acked: b.acked, lost: b.lost, found: b.found, gentle: b.gentle, inflight: l.inflight, delivered: l.delivered, rtt: b.rtt}
	if b.newest.num != 0 {
		s.prior, s.idle = b.newest.delivered, b.newest.idle
		interval := max(b.newest.sentAt-b.newest.firstSent, now-b.newest.deliverAt)
		if interval > 0 {
			s.rate = float64(l.delivered-b.newest.delivered) / interval.Seconds()
		}
		s.interval = interval
	}
	*b = txBatch{}
	return s
}
