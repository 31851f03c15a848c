package kcptransport

import (
	"net/netip"
	"slices"
	"testing"
)

// "The RECOMMENDED values for type preferences are 126 for host candidates, 110 for peer-reflexive candidates, 100 for
// server-reflexive candidates, and 0 for relayed candidates."
// https://www.rfc-editor.org/rfc/rfc8445#section-5.1.2.2
func TestCandidatePriority(t *testing.T) {
	if got := CandidatePriority(Host, 65535); got != 126<<24|65535<<8|255 {
		t.Errorf("host: %d", got)
	}
	if got := CandidatePriority(Relayed, 0); got != 255 {
		t.Errorf("relayed: %d", got)
	}
	order := []CandidateType{Host, PeerReflexive, PortMapped, ServerReflexive, Relayed}
	for n := 1; n < len(order); n++ {
		if CandidatePriority(order[n-1], 0) <= CandidatePriority(order[n], 65535) {
			t.Errorf("%v is not always better than %v", order[n-1], order[n])
		}
	}
}

func TestCandidateCompare(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
	sorted := []Candidate{{b, Host, 9}, {a, Host, 5}, {a, PeerReflexive, 5}, {b, Host, 5}}
	got := slices.Clone(sorted)
	slices.Reverse(got)
	slices.SortFunc(got, Candidate.Compare)
	if !slices.Equal(got, sorted) {
		t.Errorf("sorted: %v", got)
	}
}

func TestCandidateUsable(t *testing.T) {
	for addr, want := range map[string]bool{
		"192.0.2.1:7": true, "[2001:db8::1]:7": true, "127.0.0.1:7": true, "[fe80::1]:7": true,
		"192.0.2.1:0": false, "0.0.0.0:7": false, "[::]:7": false, "224.0.0.1:7": false, "[ff02::1]:7": false,
		"255.255.255.255:7": false, "[::ffff:192.0.2.1]:7": false, "[fe80::1%eth0]:7": false,
		"[100::1]:1": false, // stands for a connection, and only where that is: RFC 6666
	} {
		if got := (Candidate{Addr: netip.MustParseAddrPort(addr)}).Usable(); got != want {
			t.Errorf("%s: usable %v, want %v", addr, got, want)
		}
	}
	if (Candidate{}).Usable() {
		t.Error("the zero candidate is usable")
	}
}

func TestCandidateTypeString(t *testing.T) {
	seen := map[string]bool{}
	for c := CandidateType(0); c <= Relayed+1; c++ {
		seen[c.String()] = true
	}
	if len(seen) != 6 || !seen["unknown"] {
		t.Errorf("names are %v", seen)
	}
}
