package relaymesh

import (
	"math"
	"time"
)

// How much a bucket holds: what its rate brings in this time, but no less than two packets. What it saves up leaves at once when
// something comes, and a sender takes that for the rate. A new one holds more, so that handshakes do not wait.
const (
	bucketTime  = 5 * time.Millisecond
	bucketBytes = 11 * maxTransit
)

// bucket is a token bucket, of bytes. Its zero value has no limit. Time is passed in.
type bucket struct {
	rate, room, tokens float64 // bytes a second, at most, now
	at                 time.Time
}

// newBucket returns a full bucket; rate is in bytes a second, 0 means no limit.
func newBucket(rate uint64) bucket {
	room := max(float64(rate)*bucketTime.Seconds(), 2*maxTransit)
	return bucket{rate: float64(rate), room: room, tokens: max(room, bucketBytes)}
}

// wait returns how long it takes until n bytes may pass: 0 or less when they may at once.
func (b *bucket) wait(now time.Time, n int) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.fill(now)
	if lack := float64(n) - b.tokens; lack > 0 {
		return time.Duration(lack/b.rate*float64(time.Second)) + 1
	}
	return 0
}

// has returns how many whole bytes may pass at once.
func (b *bucket) has(now time.Time) int {
	if b.rate == 0 {
		return math.MaxInt
	}
	b.fill(now)
	return max(int(b.tokens), 0)
}

// fill adds what came in until now.
func (b *bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	} else if d := now.Sub(b.at); d > 0 {
		b.tokens, b.at = max(b.tokens, min(b.tokens+d.Seconds()*b.rate, b.room)), now
	}
}

// take takes n bytes out, which wait allowed.
func (b *bucket) take(n int) {
	if b.rate != 0 {
		b.tokens -= float64(n)
	}
}
