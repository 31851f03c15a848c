package relayops

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
)

func testID(t testing.TB, seed byte) kcptransport.PeerID {
	t.Helper()
	id, err := kcptransport.NewIdentity(seeded.New([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return id.ID()
}

func TestAListHasPeersAndPrefixes(t *testing.T) {
	ann, bob := testID(t, 1), testID(t, 2)
	l, err := parseList("f", strings.NewReader("# friends\n"+ann.String()+" # ann\n192.0.2.0/24\n203.0.113.9\n2001:db8::/48\n"))
	if err != nil {
		t.Fatal(err)
	}
	if l.Len() != 4 {
		t.Errorf("%d entries", l.Len())
	}
	for addr, want := range map[string]bool{
		"192.0.2.77": true, "::ffff:192.0.2.77": true, "192.0.3.1": false, "203.0.113.9": true, "203.0.113.8": false,
		"2001:db8:0:7::1": true, "2001:db8:1::1": false, "fe80::1%eth0": false,
	} {
		if got := l.Has(bob, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
		if !l.Has(ann, netip.MustParseAddr(addr)) {
			t.Errorf("ann at %s is not in the list", addr)
		}
	}
	if l.Has(bob, netip.Addr{}) || !l.Has(ann, netip.Addr{}) {
		t.Error("without an address only the ID counts")
	}
}

func TestAListThatMakesNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24\nbob":        `f:2: "bob" is neither`,
		"192.0.2.1/24":             "is 192.0.2.0/24 meant?",
		"::ffff:192.0.2.0/120":     "write it as IPv4",
		"192.0.2.0/33":             "f:1:",
		"fe80::1%eth0":             "f:1:",
		"192.0.2.0/24 192.0.2.0/8": "f:1:",
		strings.Repeat("a", 1<<17): "f:1:",
	} {
		if _, err := parseList("f", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestWhoIsAdmitted(t *testing.T) {
	ann, bob := testID(t, 1), testID(t, 2)
	at := netip.MustParseAddr("192.0.2.7")
	list := func(text string) *List {
		l, err := parseList("f", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, c := range map[string]struct {
		lists    Lists
		ann, bob bool
	}{
		"no lists":                    {Lists{}, true, true},
		"ann is allowed":              {Lists{Allow: list(ann.String())}, true, false},
		"an empty list allows nobody": {Lists{Allow: list("# nobody")}, false, false},
		"ann is denied":               {Lists{Deny: list(ann.String())}, false, true},
		"deny wins":                   {Lists{Allow: list("192.0.2.0/24"), Deny: list(ann.String())}, false, true},
		"a network is denied":         {Lists{Allow: list(ann.String()), Deny: list("192.0.0.0/16")}, false, false},
	} {
		if a, b := c.lists.Admit(ann, at), c.lists.Admit(bob, at); a != c.ann || b != c.bob {
			t.Errorf("%s: ann %v, bob %v", name, a, b)
		}
	}
}

func TestBothListsAreReadOrNone(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	for name, text := range map[string]string{good: "192.0.2.0/24\n", bad: "nonsense\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := ReadLists(good, ""); err != nil || l.Allow.Len() != 1 || l.Deny != nil {
		t.Errorf("%v, %v", l, err)
	}
	l, err := ReadLists(good, bad)
	if err == nil || !strings.Contains(err.Error(), bad+":1:") || l.Allow != nil {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := ReadLists(bad, filepath.Join(dir, "missing")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("two errors, want one line: %v", err)
	}
}

// FuzzList checks that whatever a file says is read or refused with a line number, and that a list has no more than lines.
func FuzzList(f *testing.F) {
	f.Add("192.0.2.0/24\n::/0 # all\n" + testID(f, 1).String())
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseList("f", strings.NewReader(text))
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "f:"):
			t.Fatal(err)
		case err == nil && l.Len() > strings.Count(text, "\n")+1:
			t.Fatalf("%d entries", l.Len())
		}
		l.Has(kcptransport.PeerID{}, netip.MustParseAddr("192.0.2.1"))
	})
}
