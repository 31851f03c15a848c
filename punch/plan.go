package punch

import (
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Observations are what is known before punching. Every field may be zero.
type Observations struct {
	Initiator bool                     // this side dialled, and so knows SignalRTT
	SignalRTT time.Duration            // round trip over the introducer
	Local     []kcptransport.Candidate // ours
	Remote    []kcptransport.Candidate // the other side's
	LocalNAT  NAT
	RemoteNAT NAT
}

// Step is one probe of a plan.
type Step struct {
	After time.Duration // since both sides know of each other: for the initiator, since it has the handshake's answer
	To    netip.AddrPort
	TTL   int // 0 is the system's
}

// The bounds of a plan.
const (
	MaxSteps   = 300                    // probes
	MaxTime    = 10 * time.Second       // from the first probe to the last
	maxTargets = 32                     // addresses
	maxLead    = 2 * time.Second        // that an introducer can make the initiator wait
	patience   = 50 * time.Millisecond  // with a peer that is slow to begin
	resend     = 100 * time.Millisecond // more than a round trip: for the message that has it begin, when that is lost once
	burst      = 4                      // probes that leave together, as the first segments of a TCP connection do
	pace       = 5 * time.Millisecond

	// Openers pass two NATs of our own: that of a home, and a carrier's or a second one at home, of which nothing tells
	// when both keep the port. The third router lowers it to 0; so it has to be none of the other side's, which it is
	// only if both are behind the same access router.
	openerTTL = 3
)

// rounds are when every candidate is probed again, counted from the first round. The first pause is that between two
// checks of RFC 8445 section 14.2, then pauses double as in RFC 8489 section 6.2.1, up to 1.6 s: a mapping or a route
// may come up at any time.
var rounds = []time.Duration{
	0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond,
	800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond, 4800 * time.Millisecond,
	6400 * time.Millisecond, 8000 * time.Millisecond, 9600 * time.Millisecond,
}

// Plan returns what to send where and when, in order of time: every candidate of the other side in rounds, the most
// promising first, at most MaxSteps within MaxTime. It is a pure function.
//
// A probe that reaches the other NAT before the other side has sent anything dies there at best; at worst it makes a
// Linux router without a rule that drops unsolicited input give the port away that we hope to hit. So nobody's full
// probes may be early. The side that answered the handshake learns that the other has its answer half a round trip
// after that, and begins at once. By then the initiator's NAT is open for it: the initiator has sent openers, which die
// before they reach the other router. Its full probes can wait for the other side, whose probes it answers as soon as
// they come, and which end the waiting: see run.hasten. They are for the case that those are lost, and allow for a peer
// that is slow, and for the loss of what tells it to begin: whoever knocks too early goes on knocking, and keeps what is
// wrong alive. They do not wait when our port may move with the destination: then the other side needs to see the new
// one.
func Plan(o Observations) []Step {
	targets := rank(o)
	var steps []Step
	start := time.Duration(0)
	if o.Initiator && o.SignalRTT > 0 {
		start = min(o.SignalRTT/2, maxLead)
		steps = appendRound(steps, targets, 0, openerTTL)
		if !mayMove(o.LocalNAT) {
			steps = appendRound(steps, targets, min(o.SignalRTT/2, patience), openerTTL)
			start = min(2*o.SignalRTT+patience+resend, maxLead)
		}
	}
	for _, r := range rounds {
		steps = appendRound(steps, targets, start+r, 0)
	}
	return steps
}

// mayMove reports whether it is not unlikely that our port moves with the destination.
func mayMove(n NAT) bool {
	return n.Mapping.Is >= AddressDependent || n.Ports.Is == PortsChanged && n.Mapping.Confidence < 0.7
}

// appendRound appends one probe to each target, from a time on, but not before what is already planned has left.
func appendRound(steps []Step, targets []ranked, at time.Duration, ttl int) []Step {
	if n := len(steps); n > 0 {
		at = max(at, steps[n-1].After+pace)
	}
	for i, t := range targets {
		if len(steps) == MaxSteps || len(steps) > 0 && at > steps[0].After+MaxTime {
			break
		}
		if i >= burst {
			at += pace
		}
		steps = append(steps, Step{After: at, To: t.Addr, TTL: ttl})
	}
	return steps
}
