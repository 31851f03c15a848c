package kcptransport

import "time"

// A controller decides how fast and how much a link sends on its path. It is fed by the run loop and has neither clock
// nor goroutine. Sizes are bytes of KCP segments, header included.
type controller interface {
	// onAck is told what each batch of acknowledgements, or a timeout, revealed.
	onAck(s ackSample)
	// onMark is told that a relay on the way has more to carry than it can.
	onMark(now time.Duration)
	// window returns how many bytes may be in flight.
	window() int
	// rate returns at how many bytes a second to send; 0 = as fast as the window allows.
	rate() float64
	// gentle reports whether rate is less than the path delivers, so that what is sent makes no queue.
	gentle(now time.Duration) bool
	// delivery returns how many bytes a second the path delivers, as estimated; 0 = not known.
	delivery() float64
	// reset forgets what was learned of a path that is no longer used. rtt is what is known of the new one, 0 = nothing.
	reset(now, rtt time.Duration)
}

// ackSample is what a batch of acknowledgements revealed. Times are since the mux began.
type ackSample struct {
	now         time.Duration
	acked, lost int           // bytes newly known to have arrived, or not
	found       int           // bytes that arrived although they had been taken for lost
	gentle      gentleSample  // of those sent while the controller said that it was gentle
	inflight    int           // bytes in flight now
	delivered   int64         // bytes that ever arrived
	prior       int64         // bytes that had arrived when the newest acknowledged transmission was sent
	rate        float64       // delivery rate in bytes a second, 0 = no sample
	interval    time.Duration // over which rate was measured
	rtt         time.Duration // 0 = no sample
	idle        bool          // the sender had too little to send: rate says only that the path can do so much
}
