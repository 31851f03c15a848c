package punch

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestExplainGolden compares the whole story with testdata/explain.txt: success, two NATs that give every destination
// another port, and a network without UDP.
func TestExplainGolden(t *testing.T) {
	const file = "testdata/explain.txt"
	at := netip.MustParseAddrPort
	lan, public := Told{at("192.168.1.5:7000"), "host"}, Told{at("198.51.100.7:7000"), "srflx"}
	remote := []Told{{at("203.0.113.9:7000"), "srflx"}}
	moving := NAT{Mapping: Belief[Behaviour]{Is: AddressAndPortDependent, Confidence: 0.9}}
	story := func(local []Told, nat NAT, failed string) string {
		r := Record{Peer: bob, Initiator: true, Local: local, Remote: remote, LocalNAT: nat, RemoteNAT: nat, Probes: 2,
			Took: Millis(time.Second), Needs: need(nat, nat), Error: failed, Targets: []Target{
				{Addr: remote[0].Addr, Type: "srflx", Sent: 2, First: Millis(150 * time.Millisecond)}}}
		if failed == "" {
			r.Winner, r.RTT = remote[0].Addr, Millis(80*time.Millisecond)
			r.Targets[0].Answered, r.Targets[0].RTT = r.Took, r.RTT
		}
		r.Targets[0].Outcome = r.outcome(r.Targets[0])
		return r.String() + "\n"
	}
	got := strings.Join([]string{
		story([]Told{lan, public}, NAT{}, ""),
		story([]Told{lan, public}, moving, "no candidate answered in 1s"),
		story([]Told{lan}, NAT{}, "no candidate answered in 1s"),
	}, "\n")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%v, got:\n%s\nwant:\n%s", err, got, want)
	}
}
