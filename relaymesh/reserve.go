package relaymesh

import (
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// MaxHops is the largest number of relays in a circuit.
const MaxHops = 4

// Limits are what a relay lets one reservation use. It tells them before they bite. 0 means no limit.
type Limits struct {
	BytesPerSecond uint64        // both directions together
	Bytes          uint64        // in total
	Circuits       int           // at once
	Duration       time.Duration // of one circuit
}

// Reservation is a relay's promise to let circuits to a peer end at it. A peer's record names the relays where it
// holds one. Nothing grants reservations yet: relaying is the next step of this package.
type Reservation struct {
	Relay   kcptransport.PeerID
	Expires time.Time
	Limits  Limits
}
