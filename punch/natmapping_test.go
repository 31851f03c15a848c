package punch

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

var hostAddr = netip.MustParseAddr("198.51.100.1")

func isHost(a netip.Addr) bool { return a == hostAddr }

// sightings reads "who mapped": who is a server's address or a peer's letter, with "@local" when the socket is not 7000.
func sightings(text string) (out []sighting) {
	for line := range strings.SplitSeq(text, ",") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		s := sighting{local: 7000, mapped: netip.MustParseAddrPort(f[1])}
		if len(f[0]) == 1 {
			s.who.peer = kcptransport.PeerID{f[0][0]}
		} else {
			s.by = netip.MustParseAddrPort(f[0])
			s.who.addr = s.by.Addr()
		}
		out = append(out, s)
	}
	return out
}

func TestInferMapping(t *testing.T) {
	for _, c := range []struct {
		name     string
		seen     string
		want     Behaviour
		from, to float64 // confidence
	}{
		{"nothing", "", Unknown, 0, 0},
		{"one server", "192.0.2.1:1 203.0.113.1:7000", Unknown, 0, 0},
		{"one server at two ports, the same", "192.0.2.1:1 203.0.113.1:7000, 192.0.2.1:2 203.0.113.1:7000", Unknown, 0, 0},
		{"two that agree", "192.0.2.1:1 203.0.113.1:7000, 192.0.2.2:1 203.0.113.1:7000", EndpointIndependent, 0.9, 0.99},
		{"a server and a peer", "192.0.2.1:1 203.0.113.1:9, a 203.0.113.1:9", EndpointIndependent, 0.9, 0.99},
		{"two that differ", "192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:10", AddressAndPortDependent, 0.6, 0.85},
		{"three that differ", "192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:10, 192.0.2.3:1 203.0.113.1:11", AddressAndPortDependent, 0.7, 0.9},
		{"two ports of one server differ", "192.0.2.1:1 203.0.113.1:9, 192.0.2.1:2 203.0.113.1:10", AddressAndPortDependent, 0.85, 0.99},
		{"by address", "192.0.2.1:1 203.0.113.1:9, 192.0.2.1:2 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:10", AddressDependent, 0.6, 0.9},
		{"by address, twice", "192.0.2.1:1 203.0.113.1:9, 192.0.2.1:2 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:10, 192.0.2.2:2 203.0.113.1:10",
			AddressDependent, 0.7, 0.9},
		{"one of three is wrong", "192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:9, 192.0.2.3:1 203.0.113.1:666", EndpointIndependent, 0.5, 0.8},
		{"the first of three is wrong", "192.0.2.3:1 203.0.113.1:666, 192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:9", EndpointIndependent, 0.5, 0.8},
		{"one of four is wrong", "192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:9, a 203.0.113.1:9, b 203.0.113.1:666", EndpointIndependent, 0.9, 0.99},
		{"one of four contradicts itself", "192.0.2.9:1 203.0.113.1:666, 192.0.2.9:2 203.0.113.1:667, 192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:9, a 203.0.113.1:9",
			EndpointIndependent, 0.9, 0.99},
		{"its own address", "192.0.2.1:1 198.51.100.1:7000", NoTranslation, 0.9, 0.99},
		{"its own address, one lies", "192.0.2.1:1 198.51.100.1:7000, 192.0.2.2:1 198.51.100.1:7000, 192.0.2.3:1 203.0.113.1:9", NoTranslation, 0.6, 0.7},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inferMapping(sightings(c.seen), isHost)
			if got.Is != c.want || got.Confidence < c.from || got.Confidence > c.to {
				t.Errorf("%v, want %v from %v to %v", got, c.want, c.from, c.to)
			}
		})
	}
}

// However many agree, one that says something else changes nothing, and doubles of what was said do not count.
func TestOneWitnessDoesNotFlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seen []sighting
		honest := rapid.IntRange(2, 6).Draw(t, "honest")
		for i := range honest {
			ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			seen = append(seen, sighting{netip.AddrPortFrom(ip, 1), netip.MustParseAddrPort("203.0.113.1:9"), 7000, witness{addr: ip}})
		}
		liar := netip.MustParseAddr("192.0.2.99")
		for range rapid.IntRange(1, 3).Draw(t, "lies") {
			s := sighting{
				netip.AddrPortFrom(liar, rapid.Uint16Range(1, 3).Draw(t, "at")),
				netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), rapid.Uint16Range(1, 12).Draw(t, "port")), 7000, witness{addr: liar},
			}
			at := rapid.IntRange(0, len(seen)).Draw(t, "position")
			seen = append(seen[:at], append([]sighting{s}, seen[at:]...)...)
		}
		if got := inferMapping(seen, isHost); got.Is != EndpointIndependent || got.Confidence <= 0.5 {
			t.Fatalf("%v from %v", got, seen)
		}
		if n := inferAddresses(seen); n.Is != 1 {
			t.Fatalf("addresses %v", n)
		}
	})
}
