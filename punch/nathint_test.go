package punch

import (
	"bytes"
	"testing"
	"time"
)

var fullNAT = NAT{
	Mapping:   Belief[Behaviour]{AddressAndPortDependent, 0.97},
	Filtering: Belief[Behaviour]{AddressDependent, 0.6},
	Ports:     Belief[Ports]{PortsChanged, 0.99},
	Step:      Belief[int]{-2, 0.91},
	Block:     Belief[PortRange]{PortRange{40960, 41983}, 0.99},
	Addresses: Belief[int]{2, 0.7},
	Lifetime:  Belief[Lifetime]{Lifetime{Millis(30 * time.Second), Millis(33 * time.Second)}, 0.9},
	Hairpin:   Belief[bool]{true, 0.99},
}

func TestHintSurvives(t *testing.T) {
	open := NAT{Lifetime: Belief[Lifetime]{Lifetime{Min: Millis(5 * time.Minute)}, 0.9}, Hairpin: Belief[bool]{false, 0.8}}
	for _, n := range []NAT{{}, fullNAT, open, {Mapping: Belief[Behaviour]{NoTranslation, 0.01}}} {
		if got := ParseNAT(n.Hint()); got != n {
			t.Errorf("got  %v\nwant %v", got, n)
		}
	}
	if n := len(fullNAT.Hint()); n != 48 || n > maxHint {
		t.Errorf("a full hint has %d bytes", n)
	}
}

func TestParseNATSkipsNonsense(t *testing.T) {
	mapping := []byte{1, 90, 0, 0, 0, 4}
	want := NAT{Mapping: Belief[Behaviour]{AddressAndPortDependent, 0.9}}
	for name, hint := range map[string][]byte{
		"nothing else":       mapping,
		"a rest":             append(bytes.Clone(mapping), 1, 90, 0),
		"said twice":         append(bytes.Clone(mapping), 1, 99, 0, 0, 0, 2),
		"of a later version": append([]byte{77, 90, 1, 2, 3, 4}, mapping...),
		"no id":              append([]byte{0, 90, 1, 2, 3, 4}, mapping...),
		"no confidence":      append([]byte{1, 0, 0, 0, 0, 1}, mapping...),
		"too sure":           append([]byte{1, 100, 0, 0, 0, 1}, mapping...),
		"filtering none":     append(bytes.Clone(mapping), 2, 90, 0, 0, 0, 1),
		"ports 4":            append(bytes.Clone(mapping), 3, 90, 0, 0, 0, 4),
		"step 0":             append(bytes.Clone(mapping), 4, 90, 0, 0, 0, 0),
		"step 100000":        append(bytes.Clone(mapping), 4, 90, 0, 1, 0x86, 0xa0),
		"block backwards":    append(bytes.Clone(mapping), 5, 90, 0, 2, 0, 1),
		"block from 0":       append(bytes.Clone(mapping), 5, 90, 0, 0, 0, 1),
		"no address":         append(bytes.Clone(mapping), 6, 90, 0, 0, 0, 0),
		"lifetime backwards": append(bytes.Clone(mapping), 7, 90, 0, 9, 0, 5),
		"hairpin 2":          append(bytes.Clone(mapping), 8, 90, 0, 0, 0, 2),
	} {
		if got := ParseNAT(hint); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := ParseNAT(bytes.Repeat(mapping, 11)); got != (NAT{}) {
		t.Errorf("66 bytes: %v", got)
	}
}

func FuzzParseNAT(f *testing.F) {
	f.Add(fullNAT.Hint())
	f.Add([]byte{1, 90, 0, 0, 0, 4, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := ParseNAT(b)
		if again := ParseNAT(n.Hint()); again != n {
			t.Fatalf("%v became %v", n, again)
		}
		_, _ = n.String(), n.Meaning()
	})
}
