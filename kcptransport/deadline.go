package kcptransport

import (
	"sync"
	"time"
)

// deadline makes blocked calls that wait on cond give up at a time. All its fields are guarded by cond.L.
type deadline struct {
	cond    *sync.Cond
	timer   *time.Timer
	setting uint64 // counts calls of set, so that a timer that fired too late to be stopped knows it is obsolete
	passed  bool
}

// set replaces the deadline; the zero time means none. The caller holds cond.L.
func (d *deadline) set(t time.Time) {
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		d.cond.Broadcast()
		return
	}
	setting := d.setting
	d.timer = time.AfterFunc(wait, func() {
		d.cond.L.Lock()
		defer d.cond.L.Unlock()
		if d.setting == setting {
			d.passed = true
			d.cond.Broadcast()
		}
	})
}

// stop makes sure that no timer is left. The caller holds cond.L.
func (d *deadline) stop() {
	d.setting++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
