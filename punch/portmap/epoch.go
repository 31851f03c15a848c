package portmap

import "time"

// epoch follows the clock of a gateway, which starts anew when it has forgotten its mappings.
type epoch struct {
	seconds uint32
	at      time.Time // zero: nothing was heard yet
}

// pcp takes in what an answer of PCP says, and reports whether mappings were lost before it (RFC 6887 section 8.5).
func (e *epoch) pcp(seconds uint32, now time.Time) (lost bool) {
	before := *e
	*e = epoch{seconds, now}
	if before.at.IsZero() {
		return false
	}
	if int64(seconds)+1 < int64(before.seconds) {
		return true
	}
	ours := now.Sub(before.at).Seconds()
	theirs := float64(int64(seconds) - int64(before.seconds))
	return ours+2 < theirs-theirs/16 || theirs+2 < ours-ours/16
}

// pmp does so for NAT-PMP (RFC 6886 section 3.6): the gateway's clock may run fast, but not slower than 7/8 of ours.
func (e *epoch) pmp(seconds uint32, now time.Time) (lost bool) {
	before := *e
	*e = epoch{seconds, now}
	if before.at.IsZero() {
		return false
	}
	return float64(seconds)+2 < float64(before.seconds)+now.Sub(before.at).Seconds()*7/8
}
