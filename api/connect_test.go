package api

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestWithoutMapped(t *testing.T) {
	for _, tt := range []struct{ addrs, want []string }{
		{[]string{"203.0.113.9:7"}, []string{"203.0.113.9:7"}},
		{[]string{"192.168.1.2:7", "203.0.113.9:7"}, []string{"192.168.1.2:7"}},
		{[]string{"100.64.0.7:7", "203.0.113.9:7"}, []string{"100.64.0.7:7"}}, // of a carrier
		{[]string{"10.0.0.2:7", "100.64.0.7:7", "203.0.113.9:7", "[2001:db8::2]:7"}, []string{"10.0.0.2:7", "100.64.0.7:7", "[2001:db8::2]:7"}},
		{[]string{"[fd00::2]:7", "203.0.113.9:7"}, []string{"[fd00::2]:7", "203.0.113.9:7"}}, // not the NAT's business
	} {
		if got := withoutMapped(parseAddrs(tt.addrs...)); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%v: kept %v, want %v", tt.addrs, got, tt.want)
		}
	}
}

func parseAddrs(list ...string) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// A ticket names an introducer that is gone. What looks like the outside of a NAT is tried all the same, as soon as
// the patience with introducers is over.
func TestJoinWithoutTheIntroducer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		ticket := Ticket{
			Contact: Contact{Peer: b.ID(), Addrs: parseAddrs("192.168.77.7:7337", b.addr)},
			Via:     []Contact{{Peer: testIdentity(99).ID(), Addrs: parseAddrs("20.9.9.9:7337")}},
		}
		start := time.Now()
		if id := a.join(ticket.String()); id != b.ID() {
			t.Errorf("joined %s", id)
		}
		if took := time.Since(start); took < mappedPatience || took > mappedPatience+100*time.Millisecond {
			t.Errorf("joined after %v, want little more than %v", took, mappedPatience)
		}
	})
}
