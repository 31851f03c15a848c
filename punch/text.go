package punch

import (
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
)

// String tells the story to a person, in several lines without a final newline.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "peer %s: %s\n", r.Peer.Short(), r.headline())
	fmt.Fprintf(&b, "our NAT:   %s\n", r.LocalNAT)
	fmt.Fprintf(&b, "their NAT: %s\n", r.RemoteNAT)
	if r.Needs != NeedsNothing && !r.Winner.IsValid() {
		fmt.Fprintf(&b, "a direct path %s\n", r.Needs)
	}
	fmt.Fprintf(&b, "our candidates:   %s\n", listCandidates(r.Local))
	fmt.Fprintf(&b, "their candidates: %s", listCandidates(r.Remote))
	if len(r.Targets) > 0 {
		b.WriteString("\n")
		r.table(&b)
	}
	if a := r.advice(); a != "" {
		fmt.Fprintf(&b, "\nwhat may help: %s", a)
	}
	return b.String()
}

func (r Record) headline() string {
	var s strings.Builder
	switch {
	case r.Running:
		fmt.Fprintf(&s, "no direct path after %s, still trying", short(r.Took))
	case r.Error != "":
		fmt.Fprintf(&s, "no direct path: %s", r.Error)
	default:
		fmt.Fprintf(&s, "direct by %s after %s", r.Winner, short(r.Took))
	}
	fmt.Fprintf(&s, " (%d probes", r.Probes)
	if r.Initiator {
		s.WriteString(", we called")
	} else {
		s.WriteString(", they called")
	}
	if r.SignalRTT > 0 {
		fmt.Fprintf(&s, ", round trip over the introducer %s", short(r.SignalRTT))
	}
	for i, v := range r.Via {
		s.WriteString([]string{", via ", " and "}[min(i, 1)] + v.Short())
	}
	s.WriteString(")")
	return s.String()
}

func (r Record) table(b *strings.Builder) {
	var t strings.Builder
	w := tabwriter.NewWriter(&t, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  tried\ttype\tprobes\tfrom\tanswered\trtt\toutcome\n")
	for _, g := range r.Targets {
		from, answered, rtt := "-", "-", "-"
		if g.Sent > 0 {
			from = "+" + short(g.First)
		}
		if g.Answered != 0 {
			answered, rtt = "+"+short(g.Answered), short(g.RTT)
		}
		fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\n", g.Addr, g.Type, g.Sent, from, answered, rtt, g.Outcome)
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteString(strings.TrimRight(t.String(), "\n"))
}

// short writes a duration in milliseconds, with a decimal below 10.
func short(m Millis) string {
	if ms := float64(m) / float64(time.Millisecond); ms < 10 {
		return fmt.Sprintf("%.1fms", ms)
	}
	return m.Duration().Round(time.Millisecond).String()
}

func listCandidates(candidates []Told) string {
	if len(candidates) == 0 {
		return "none"
	}
	var list []string
	for _, c := range candidates {
		list = append(list, c.Type+" "+c.Addr.String())
	}
	return strings.Join(list, ", ")
}

// listAddrs names the first few and counts all.
func listAddrs(addrs []netip.AddrPort) string {
	const most = 4
	var list []string
	for _, a := range addrs[:min(len(addrs), most)] {
		list = append(list, a.String())
	}
	s := fmt.Sprintf("%d: %s", len(addrs), strings.Join(list, ", "))
	if len(addrs) > most {
		s += ", …"
	}
	return s
}
