package kcptransport

import "time"

// muxCounts are counters since the mux began, in segments.
type muxCounts struct {
	Sent, Retransmitted, Lost, Spurious, Received, Duplicates uint64
	LostBefore                                                uint64 // of Lost: sent before the last pathChanged
	Overrun                                                   uint64 // beyond the window
	Refused                                                   uint64 // for want of memory
	Hostile                                                   uint64 // malformed, or out of any range
	Probes                                                    uint64
	Withheld                                                  uint64 // KCP wanted to send them again without need
}

// muxStats is what stats returns.
type muxStats struct {
	muxCounts
	Streams      int           // open
	SRTT, MinRTT time.Duration // 0 = not measured
	InFlight     int           // bytes
	Window       int           // bytes that may be in flight
	Rate         float64       // bytes a second that arrive while there is enough to send, 0 = not known
	Loss         float64       // part of the segments that were lost, 0 to 1
}

func (m *mux) stats() muxStats {
	s := muxStats{
		muxCounts: m.counts, Streams: len(m.convs), SRTT: m.trip.smoothed, MinRTT: m.trip.min, InFlight: m.log.inflight,
		Window: m.ctrl.window(), Rate: m.ctrl.delivery(),
	}
	if m.convs[0] != nil {
		s.Streams--
	}
	if s.Sent > 0 {
		s.Loss = float64(s.Lost) / float64(s.Sent)
	}
	return s
}
