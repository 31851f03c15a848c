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
	PathProbing   PathState = 1 // seen or told, but not yet known to work
	PathValidated PathState = 2 // the peer answered a probe of data size on it
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

// PathInfo describes one path of a link at one moment.
type PathInfo struct {
	Path     Path
	State    PathState
	InUse    bool           // what is sent leaves on this path
	RTT      time.Duration  // smoothed round trip, 0 when it was not measured
	Since    time.Time      // when it was validated last; the zero time when never
	Observed netip.AddrPort // our own address as the peer sees it on this path; invalid when not known
}
