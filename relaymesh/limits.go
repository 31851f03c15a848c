package relaymesh

import "time"

// MaxHops is the largest number of relays in a circuit.
const MaxHops = 4

// Limits are what a relay lets one peer use. It tells them before they bite. 0 means no limit.
type Limits struct {
	BytesPerSecond uint64        // both directions together
	Bytes          uint64        // in total
	Circuits       int           // at once
	Duration       time.Duration // of one circuit
}
