package punch

import (
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// EventType says what an [Event] tells.
type EventType string

// The types of events.
const (
	EventStarted  EventType = "started"
	EventSeen     EventType = "seen"     // a packet came from an address that nobody told
	EventAnswered EventType = "answered" // the peer answered a probe to Addr
	EventDirect   EventType = "direct"   // the link uses a direct path; the Punch is over
	EventFailed   EventType = "failed"   // the Punch is over without one
)

// Event is something that happened while punching.
type Event struct {
	Type   EventType
	Peer   kcptransport.PeerID
	Addr   netip.AddrPort // of the peer; invalid where there is none
	After  time.Duration  // since the Punch began
	Probes int            // sent until then
}
