package netsim

// A delayed value is seen by others one nanosecond after it was set. What calls of a
// stream do is seen by packets in this way, and what packets do is seen by calls, so
// that it does not matter who runs first at one instant. Times do not go back.
type delayed[T any] struct {
	before, last T
	since        int64 // when last was set
}

func (d *delayed[T]) set(now int64, v T) {
	if d.since < now {
		d.before, d.since = d.last, now
	}
	d.last = v
}

func (d *delayed[T]) seen(now int64) T {
	if d.since < now {
		return d.last
	}
	return d.before
}

// A wakeup is due for those who wait for something that packets did.
type wakeup struct {
	at   int64
	wake func()
}

// wakeups are in the order of their times.
type wakeups struct {
	list []wakeup
	done int
}

// add asks for a wakeup after what happens now. As turns of loops do (see turns), it
// leaves the odd nanoseconds to loops.
func (w *wakeups) add(at int64, wake func()) {
	w.list = append(w.list, wakeup{at + 2 - at&1, wake})
}

// due returns when the next one is due, or never.
func (w *wakeups) due() int64 {
	if w.done == len(w.list) {
		return never
	}
	return w.list[w.done].at
}

func (w *wakeups) next() {
	wake := w.list[w.done].wake
	w.list[w.done].wake = nil
	if w.done++; w.done == len(w.list) {
		w.list, w.done = w.list[:0], 0
	}
	wake()
}
