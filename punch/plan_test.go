package punch

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPlans runs testdata/plans.txt: paragraphs of a title, lines of input, a line of ---- and the plan.
func TestPlans(t *testing.T) {
	const file = "testdata/plans.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for i, paragraph := range strings.Split(strings.TrimSpace(string(want)), "\n\n") {
		input, _, _ := strings.Cut(paragraph, "\n----")
		if i > 0 {
			got.WriteString("\n")
		}
		fmt.Fprintf(&got, "%s\n----\n%s", input, describePlan(parseObservations(t, input)))
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !*update && !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what the planner says (run with -update to see the difference); got:\n%s", file, got.Bytes())
	}
}

var typeNames = map[string]kcptransport.CandidateType{
	"host": kcptransport.Host, "srflx": kcptransport.ServerReflexive, "mapped": kcptransport.PortMapped,
}

func parseObservations(t *testing.T, input string) (o Observations) {
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		switch f[0] {
		case "#":
		case "initiator":
			rtt, err := time.ParseDuration(f[1])
			if err != nil {
				t.Fatal(err)
			}
			o.Initiator, o.SignalRTT = true, rtt
		case "moves":
			o.LocalNAT.Mapping = Belief[Behaviour]{AddressAndPortDependent, 0.9}
		case "changed":
			o.LocalNAT.Ports = Belief[Ports]{PortsChanged, 0.9}
		case "local":
			o.Local = parseCandidates(t, f[1:])
		case "remote":
			o.Remote = parseCandidates(t, f[1:])
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return o
}

func parseCandidates(t *testing.T, f []string) (out []kcptransport.Candidate) {
	for i := 0; i < len(f); i += 2 {
		if typeNames[f[i]] == 0 {
			t.Fatalf("candidates of type %q?", f[i])
		}
		out = append(out, candidate(typeNames[f[i]], i/2, netip.MustParseAddrPort(f[i+1])))
	}
	return out
}

// describePlan writes the order of the targets, and when the rounds to the first of them leave.
func describePlan(o Observations) string {
	var b strings.Builder
	steps := Plan(o)
	for _, r := range rank(o) {
		fmt.Fprintf(&b, "%s %s", r.Type, r.Addr)
		if note := r.class.note(); note != "" {
			fmt.Fprintf(&b, " (%s)", note)
		}
		b.WriteString(":")
		for _, s := range steps {
			if s.To == r.Addr {
				fmt.Fprintf(&b, " %d", s.After.Milliseconds())
				if s.TTL != 0 {
					fmt.Fprintf(&b, "/ttl%d", s.TTL)
				}
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d probes\n", len(steps))
	return b.String()
}

var genAddr = rapid.Custom(func(t *rapid.T) netip.AddrPort {
	port := rapid.Uint16Range(0, 3).Draw(t, "port")
	ip := rapid.SampledFrom([]string{
		"10.0.0.1", "10.0.0.2", "192.168.1.5", "100.64.3.3", "198.51.100.7", "203.0.113.9", "127.0.0.1", "0.0.0.0",
		"224.0.0.1", "2001:db8::1", "2001:db8::2", "fd00::1", "::1", "::", "169.254.1.1",
	}).Draw(t, "ip")
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
})

var genCandidate = rapid.Custom(func(t *rapid.T) kcptransport.Candidate {
	return kcptransport.Candidate{
		Addr:     genAddr.Draw(t, "addr"),
		Type:     kcptransport.CandidateType(rapid.IntRange(0, 6).Draw(t, "type")),
		Priority: rapid.Uint32().Draw(t, "priority"),
	}
})

var genNAT = rapid.Custom(func(t *rapid.T) NAT {
	belief := func(name string) Belief[Behaviour] {
		return Belief[Behaviour]{Behaviour(rapid.IntRange(0, 4).Draw(t, name)), rapid.Float64Range(0, 1).Draw(t, "sure")}
	}
	return NAT{Mapping: belief("mapping"), Filtering: belief("filtering")}
})

var genObservations = rapid.Custom(func(t *rapid.T) Observations {
	return Observations{
		Initiator: rapid.Bool().Draw(t, "initiator"),
		SignalRTT: time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "rtt")),
		Local:     rapid.SliceOfN(genCandidate, 0, 20).Draw(t, "local"),
		Remote:    rapid.SliceOfN(genCandidate, 0, 60).Draw(t, "remote"),
		LocalNAT:  genNAT.Draw(t, "local NAT"),
		RemoteNAT: genNAT.Draw(t, "remote NAT"),
	}
})

func TestPlanIsBoundedAndOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := Plan(genObservations.Draw(t, "observations"))
		if len(steps) > MaxSteps {
			t.Fatalf("%d steps", len(steps))
		}
		for i, s := range steps {
			if s.After < 0 || s.After-steps[0].After > MaxTime+maxTargets*pace {
				t.Fatalf("step %d after %v", i, s.After)
			}
			if i > 0 && s.After < steps[i-1].After {
				t.Fatalf("step %d comes before the one before it", i)
			}
			if i > burst && s.After-steps[i-burst].After < pace/2 {
				t.Fatalf("more than %d steps at once at %v", burst, s.After)
			}
			if !(kcptransport.Candidate{Addr: s.To}).Usable() {
				t.Fatalf("step %d goes to %v", i, s.To)
			}
		}
	})
}

// What is believed of NATs may change when something is tried, never whether it is.
func TestPlanForbidsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := genObservations.Draw(t, "observations")
		tried := map[netip.AddrPort]int{}
		for _, s := range Plan(o) {
			tried[s.To]++
		}
		for _, c := range o.Remote {
			if c.Usable() && tried[c.Addr] < 5 {
				t.Fatalf("%v is tried %d times", c, tried[c.Addr])
			}
		}
		if len(tried) > maxTargets {
			t.Fatalf("%d targets", len(tried))
		}
	})
}

func TestPlanIsAFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := genObservations.Draw(t, "observations")
		a := Plan(o)
		o.Remote = rapid.Permutation(o.Remote).Draw(t, "permuted")
		b := Plan(o)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("the order in which candidates are told matters:\n%v\n%v", a, b)
		}
	})
}

func TestParseTypes(t *testing.T) { // the names in testdata are those that people see
	for name, typ := range typeNames {
		if typ.String() != name {
			t.Errorf("%v is called %q in testdata", typ, name)
		}
	}
}
