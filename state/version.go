package state

import (
	"cmp"
	"fmt"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// A Version orders the writes of all nodes: by the hybrid logical clock of
// Kulkarni et al., "Logical Physical Clocks" (2014), section 3, and between
// equal times by the author's key. The zero value is before every write.
type Version struct {
	Wall    uint64 // milliseconds since 1970
	Counter uint32 // counts what happened within a millisecond
	Author  kcptransport.PeerID
}

// Compare returns -1, 0 or 1 as v is before, the same as, or after o.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Wall, o.Wall), cmp.Compare(v.Counter, o.Counter), v.Author.Compare(o.Author))
}

// IsZero reports whether v is the zero value.
func (v Version) IsZero() bool { return v == Version{} }

// Time returns the time of the write by its author's clock.
func (v Version) Time() time.Time { return time.UnixMilli(int64(v.Wall)) }

// String shows the version for people: time, counter and author.
func (v Version) String() string {
	return fmt.Sprintf("%s+%d@%s", v.Time().UTC().Format("2006-01-02T15:04:05.000Z"), v.Counter, v.Author.Short())
}

// clock is a hybrid logical clock. The zero value is ready; now is passed in.
type clock struct {
	wall    uint64
	counter uint32
}

// tick returns a time after every one it has given or seen.
func (c *clock) tick(now time.Time) (wall uint64, counter uint32) {
	if ms := millis(now); ms > c.wall {
		c.wall, c.counter = ms, 0
	} else if c.counter++; c.counter == 0 { // 2^32 writes within a millisecond
		c.wall++
	}
	return c.wall, c.counter
}

// see takes in the time of a write of another node.
func (c *clock) see(v Version) {
	if v.Wall > c.wall || (v.Wall == c.wall && v.Counter > c.counter) {
		c.wall, c.counter = v.Wall, v.Counter
	}
}

func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }
