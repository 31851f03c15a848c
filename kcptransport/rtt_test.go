package kcptransport

import (
	"testing"
	"time"
)

func TestRTTEstimator(t *testing.T) {
	var r rttEstimator
	if r.probeTimeout() != initialProbeTimeout {
		t.Error("the first timeout is", r.probeTimeout())
	}
	for i := range 100 {
		r.update(time.Duration(i)*time.Second/100, 50*time.Millisecond)
	}
	if r.smoothed != 50*time.Millisecond || r.min != 50*time.Millisecond || r.probeTimeout() > 70*time.Millisecond {
		t.Errorf("%+v, timeout %v", r, r.probeTimeout())
	}
	for i := range 200 { // the path gets longer; the minimum follows within a minute
		r.update(time.Second+time.Duration(i)*time.Second/2, 200*time.Millisecond)
	}
	if r.min != 200*time.Millisecond {
		t.Errorf("the minimum is %v a minute after all round trips got longer", r.min)
	}
}
