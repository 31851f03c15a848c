package punch

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Millis is a duration that JSON shows as a number of milliseconds.
type Millis time.Duration

// Duration returns m as what it is.
func (m Millis) Duration() time.Duration { return time.Duration(m) }

// MarshalJSON writes milliseconds with up to three decimals.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(m).Microseconds())/1000, 'f', -1, 64), nil
}

// Record tells the story of one Punch: what was known, what was tried, what came of it. It is bounded: at most 48
// targets. All times count from Started. Its readers must not change what it points to.
type Record struct {
	Peer      kcptransport.PeerID   `json:"peer"`
	Started   time.Time             `json:"started"`
	Initiator bool                  `json:"initiator"`
	Via       []kcptransport.PeerID `json:"via,omitempty"`
	SignalRTT Millis                `json:"signal_rtt_ms,omitempty"` // known to the initiator only
	LocalNAT  NAT                   `json:"local_nat"`
	RemoteNAT NAT                   `json:"remote_nat"`
	Local     []Told                `json:"local"`
	Remote    []Told                `json:"remote"`
	Targets   []Target              `json:"targets"` // in the order of trying
	Probes    int                   `json:"probes"`
	Took      Millis                `json:"took_ms"`
	Winner    netip.AddrPort        `json:"winner,omitzero"`
	RTT       Millis                `json:"rtt_ms,omitempty"`  // of the winner
	Needs     Need                  `json:"needs,omitempty"`   // beyond what was tried, by what is believed of the NATs
	Running   bool                  `json:"running,omitempty"` // the Punch is not over: what follows from its end is missing
	Error     string                `json:"error,omitempty"`
}

// Told is a candidate as one side told it to the other.
type Told struct {
	Addr netip.AddrPort `json:"addr"`
	Type string         `json:"type"` // host, srflx, mapped ...
}

func told(candidates []kcptransport.Candidate) []Told {
	out := make([]Told, 0, len(candidates))
	for _, c := range candidates {
		out = append(out, Told{c.Addr, c.Type.String()})
	}
	return out
}

// Target is an address of the peer and what became of trying it.
type Target struct {
	Addr     netip.AddrPort `json:"addr"`
	Type     string         `json:"type"`
	Sent     int            `json:"sent"`                  // probes of the plan; the link sends some by itself as well
	First    Millis         `json:"first_ms"`              // when the first of them left; 0 without one
	Seen     Millis         `json:"seen_ms,omitempty"`     // when a packet from there told the address
	Answered Millis         `json:"answered_ms,omitempty"` // when an answer was noticed; 0 is never
	RTT      Millis         `json:"rtt_ms,omitempty"`
	Outcome  string         `json:"outcome"`        // why it won or did not
	Note     string         `json:"note,omitempty"` // why it was not expected to answer
}

func newRecord(peer kcptransport.PeerID, obs Observations, o Options, now time.Time) Record {
	return Record{
		Peer: peer, Started: now, Initiator: obs.Initiator, Via: slices.Clone(o.Via), SignalRTT: Millis(obs.SignalRTT),
		LocalNAT: obs.LocalNAT, RemoteNAT: obs.RemoteNAT,
		Local: told(obs.Local), Remote: told(obs.Remote),
		Needs: need(obs.LocalNAT, obs.RemoteNAT), Running: true,
	}
}

// probed notes that a probe left.
func (t *Target) probed(at time.Duration) {
	if t.Sent == 0 {
		t.First = Millis(at)
	}
	t.Sent++
}

// answered notes that the peer answered on a path, and reports whether that is news.
func (t *Target) answered(info kcptransport.PathInfo, began time.Time) bool {
	if info.State != kcptransport.PathValidated {
		return false
	}
	t.RTT = Millis(info.RTT)
	if t.Answered != 0 {
		return false
	}
	t.Answered = Millis(max(info.Since.Sub(began), 1)) // 1 ns: there before we began
	return true
}

// end notes how it ended.
func (r *Record) end(info kcptransport.PathInfo, err error, now time.Time) {
	r.Took = Millis(now.Sub(r.Started))
	r.Running = false
	if err != nil {
		r.Error = err.Error()
	} else {
		r.Winner, r.RTT = info.Path.Addr, Millis(info.RTT)
	}
	for i := range r.Targets {
		r.Targets[i].Outcome = r.outcome(r.Targets[i])
	}
}

func (r *Record) outcome(t Target) string {
	switch {
	case r.failed() && t.Answered != 0:
		return "answered, and was lost again"
	case t.Addr == r.Winner:
		return "won"
	case t.Answered != 0:
		return "answered, but another path was preferred"
	case t.Sent == 0 && t.Seen == 0:
		return "not tried: a path was found before"
	case !r.failed():
		return "no answer until a path was found"
	case t.Note != "":
		return "no answer: " + t.Note
	case r.LocalNAT.moves() && r.RemoteNAT.moves():
		return "no answer: both NATs give every destination another port"
	case r.LocalNAT.moves() || r.RemoteNAT.moves():
		return "no answer: one NAT gives every destination another port, the other seems to let only known ports in"
	}
	return "no answer"
}

func (r *Record) failed() bool { return r.Error != "" }
