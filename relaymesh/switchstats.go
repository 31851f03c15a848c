package relaymesh

import (
	"math"

	"github.com/2xppg/xppg/kcptransport"
)

// SwitchStats are the counters of a [Switch] since it was made.
type SwitchStats struct {
	Circuits       int    // now
	MaxCircuits    int    // that there may be, 0 for any number
	Packets, Bytes uint64 // carried on; bytes without IP and UDP headers, those of packets that the socket did not take too
	Unknown        uint64 // packets dropped because no circuit has their label
	Strange        uint64 // packets dropped because they did not come from the neighbour that the label was told
	Unready        uint64 // packets dropped because the next hop is not known yet, or any more, or the socket failed
	Overflow       uint64 // packets dropped because too many waited, here or for a connection
	Late           uint64 // packets dropped because they waited too long
	Marked         uint64 // packets carried on with the mark, set here
	Queued         int    // packets that wait now

	Peers map[kcptransport.PeerID]PeerUsage // who has circuits now
}

// PeerUsage is what the circuits carried, both ways, that one peer asked for. It counts from when the peer had no circuit.
type PeerUsage struct {
	Circuits       int // now
	Packets, Bytes uint64
	Dropped        uint64 // because too many waited, or too long
	Queued         int    // bytes that wait now
}

// MaxCircuits returns how many circuits there may be, 0 for any number.
func (s *Switch) MaxCircuits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxCircuits()
}

func (s *Switch) maxCircuits() int {
	if s.cfg.Circuits < math.MaxInt32 {
		return s.cfg.Circuits
	}
	return 0
}

// Stats returns the counters.
func (s *Switch) Stats() SwitchStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	s.told = max(s.told, stats.Packets)
	stats.Packets = s.told
	stats.Circuits = len(s.entries) / 2
	stats.MaxCircuits = s.maxCircuits()
	stats.Peers = make(map[kcptransport.PeerID]PeerUsage, len(s.peers))
	for id, a := range s.peers {
		stats.Peers[id] = PeerUsage{a.circuits, a.packets, a.bytes, a.dropped, a.queued}
	}
	return stats
}
