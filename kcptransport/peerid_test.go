package kcptransport

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPeerIDText(t *testing.T) {
	id := testIdentity(1).ID()
	s := id.String()
	if len(s) != peerIDLen || s != strings.ToLower(s) || id.Short() != s[:8] {
		t.Errorf("String %q, Short %q", s, id.Short())
	}
	for _, text := range []string{s, strings.ToUpper(s)} {
		if got, err := ParsePeerID(text); err != nil || got != id {
			t.Errorf("ParsePeerID(%q) = %v, %v", text, got, err)
		}
	}
	b, err := json.Marshal(map[PeerID]PeerID{id: id})
	if err != nil {
		t.Fatal(err)
	}
	var back map[PeerID]PeerID
	if err := json.Unmarshal(b, &back); err != nil || back[id] != id {
		t.Errorf("JSON: %v, %v", back, err)
	}
}

func TestParsePeerIDErrors(t *testing.T) {
	good := testIdentity(1).ID().String()
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", "0 characters"},
		{"short", good[1:], "51 characters"},
		{"long", strings.Repeat(good, 100), "5200 characters"},
		{"not base32", "1" + good[1:], "base32"},
		{"not ASCII", "\u212a" + good[3:], "base32"}, // the Kelvin sign is k in lower case, and shorter then
		{"line break", "\n" + good[1:], ""},
		{"second spelling", good[:51] + "b", "last character"},
		{"zero", strings.Repeat("a", 52), "all zero"},
		{"sign bit", PeerID{31: 0x80}.String(), "sign bit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParsePeerID(test.in)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one about %q", err, test.want)
			}
			if len(err.Error()) > 250 {
				t.Errorf("the error quotes %d bytes", len(err.Error()))
			}
			id := PeerID{5}
			if id.UnmarshalText([]byte(test.in)) == nil || id != (PeerID{5}) {
				t.Error("UnmarshalText accepts it or changes the value")
			}
		})
	}
}

func TestPeerIDCompare(t *testing.T) {
	low, high := PeerID{1, 2}, PeerID{1, 3}
	if low.Compare(high) != -1 || high.Compare(low) != 1 || low.Compare(low) != 0 {
		t.Error("Compare does not order by bytes")
	}
	if low.IsZero() || !(PeerID{}).IsZero() {
		t.Error("IsZero")
	}
}

func FuzzParsePeerID(f *testing.F) {
	f.Add(testIdentity(1).ID().String())
	f.Add(strings.Repeat("a", 52))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePeerID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("%q is a second spelling of %v", s, id)
		}
	})
}
