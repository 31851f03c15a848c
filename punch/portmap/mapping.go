package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// State is how far a mapping has come.
type State uint8

// The states of a mapping.
const (
	Tried    State = iota // no router has made one, so far
	Made                  // a router says so; it is untested: nobody has reached us there yet, or nobody could be asked to
	Believed              // a third peer reached us there
	Dead                  // nobody gets through, or the router has lost it; it is made anew
)

// String returns the state's name.
func (s State) String() string { return [...]string{"tried", "made", "believed", "dead"}[s] }

// Mapping is a port of a router that leads to ours, or the attempt to get one. It is comparable.
type Mapping struct {
	State    State
	Protocol Protocol       // 0 when Tried
	Gateway  netip.Addr     // who made it
	External netip.AddrPort // where peers reach us; invalid when Tried
	Expires  time.Time      // if it is not renewed; zero means never
	Double   Double         // whether another NAT is beyond the router
	Reason   string         // why it is Dead, or was not made, for people; "" if nothing is wrong
}

// Useful reports whether the address is worth a try of peers: a router made it, and it may lead to us from everywhere. Only when
// it is Believed may anything more than that be built on it, such as to tell those who ask how the node is reached.
func (m Mapping) Useful() bool {
	return m.State == Believed || m.State == Made && m.Double == NotDouble
}

// String tells of the mapping in a line.
func (m Mapping) String() string {
	if m.State == Tried {
		if m.Reason == "" {
			return "no port mapping yet"
		}
		return "no port mapping: " + m.Reason
	}
	text := fmt.Sprintf("%v by %v at %v, %v", m.External, m.Protocol, m.Gateway, m.State)
	if m.State == Made {
		text += " but untested"
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	if m.Double != NotDouble {
		text += "; " + m.Double.String()
	}
	return text
}

// Attempt is what came of one protocol at one gateway.
type Attempt struct {
	Gateway  netip.Addr
	Protocol Protocol
	Err      error // nil: it answered; ErrNotFound: it did not; else it refused, or made no sense
}

// ErrNotFound is the error of an attempt when a gateway does not speak a protocol.
var ErrNotFound = errors.New("portmap: not found: no answer")

// String tells of the attempt in a line.
func (a Attempt) String() string {
	switch {
	case a.Err == nil:
		return fmt.Sprintf("%v at %v: found", a.Protocol, a.Gateway)
	case errors.Is(a.Err, ErrNotFound):
		return fmt.Sprintf("%v at %v: not found", a.Protocol, a.Gateway)
	}
	return fmt.Sprintf("%v at %v: %v", a.Protocol, a.Gateway, a.Err)
}

// Status is what a [Client] knows.
type Status struct {
	Mappings []Mapping // for IPv4 and, where a gateway has IPv6, for that
	Attempts []Attempt // of the last search, sorted by gateway and protocol
	Searched bool      // one search has ended at least
	Err      error     // why no gateway could be asked
}
