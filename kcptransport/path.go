package kcptransport

import (
	"fmt"
	"net/netip"
	"time"
)

// Path is one way to carry packets to a peer. It is comparable.
type Path struct {
	Addr    netip.AddrPort // the peer's address, or that of the first relay
	Circuit uint32         // 0 is direct; otherwise the label of a circuit at that relay
}

// IsValid reports whether packets can be sent on the path.
func (p Path) IsValid() bool { return usableAddr(p.Addr) }

// Direct reports whether no relay stands between.
func (p Path) Direct() bool { return p.Circuit == 0 }

// Carried reports whether Addr stands for a connection (TCP or WebSocket) that carries packets where UDP is blocked:
// such addresses are in 100::/64.
func (p Path) Carried() bool { return carried(p.Addr.Addr()) }

// rank orders kinds of paths, the best first.
func (p Path) rank() int {
	switch {
	case !p.Direct():
		return 2
	case p.Carried():
		return 1
	}
	return 0
}

// String returns the address, and the circuit when there is one.
func (p Path) String() string {
	if p.Circuit == 0 {
		return p.Addr.String()
	}
	return fmt.Sprintf("%s/circuit %d", p.Addr, p.Circuit)
}

// PathState tells what is known of a path.
type PathState uint8

// The states of a path. A path that answers nothing for long leaves the table.
const (
	PathProbing   PathState = 1 // seen, told, or handshaken, but not yet known to carry full packets there and back
	PathValidated PathState = 2 // the peer answered a probe of data size on it, at that size
	PathSuspect   PathState = 3 // it worked, but what should have been answered was not
)

// String returns the state in one word.
func (s PathState) String() string {
	switch s {
	case PathProbing:
		return "probing"
	case PathValidated:
		return "validated"
	case PathSuspect:
		return "suspect"
	}
	return "unknown"
}

// PathReason tells why a path is in the state it is in.
type PathReason uint8

// The reasons.
const (
	ReasonTried     PathReason = iota // somebody asked for a probe: see Link.Probe
	ReasonHandshake                   // a handshake was completed on it
	ReasonSource                      // the peer was heard on it
	ReasonAnswered                    // a probe was answered
	ReasonHeard                       // the peer was heard on it again
	ReasonSilence                     // what was sent on it was followed by nothing
	ReasonMoved                       // the peer was heard from another address
	ReasonNetwork                     // our own network changed
	ReasonOpened                      // a circuit was opened
)

// String returns the reason in a few words.
func (r PathReason) String() string {
	switch r {
	case ReasonTried:
		return "tried"
	case ReasonHandshake:
		return "handshake"
	case ReasonSource:
		return "heard there"
	case ReasonAnswered:
		return "answered"
	case ReasonHeard:
		return "heard again"
	case ReasonSilence:
		return "silence"
	case ReasonMoved:
		return "the peer was heard elsewhere"
	case ReasonNetwork:
		return "our network changed"
	case ReasonOpened:
		return "circuit opened"
	}
	return "unknown"
}

// PathCounts are the counters of a path since it came up. Sizes are bytes of UDP payload.
type PathCounts struct {
	PacketsSent, PacketsReceived uint64
	BytesSent, BytesReceived     uint64
	PacketsLost                  uint64 // stream segments sent on it that had to be sent again
}

// PathInfo describes one path of a link at one moment. Its counters, and LastHeard, are at most 100 ms behind while
// packets come or go; those of the last 100 ms before a pause may be missing.
type PathInfo struct {
	Path      Path
	State     PathState
	Reason    PathReason     // of State
	InUse     bool           // what is sent leaves on this path
	RTT       time.Duration  // smoothed round trip of probes, 0 when it was not measured (RFC 6298)
	RTTVar    time.Duration  // how much it varies
	MinRTT    time.Duration  // the lowest measured
	Since     time.Time      // when it was validated last; the zero time when never
	LastHeard time.Time      // when something authentic came by it; the zero time when never
	Observed  netip.AddrPort // our own address as the peer sees it on this path; invalid when not known
	Via       []PeerID       // the relays of a circuit, ours first; nil on a direct path
	PathCounts

	// DeliveryRate is how many bytes of stream segments the path takes in a second, as the controller estimated when the
	// path was last in use; 0 when it does not know.
	DeliveryRate float64
}
