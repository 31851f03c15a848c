package main

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/punch"
)

func TestNetcheckText(t *testing.T) {
	n := punch.NAT{
		Mapping:   punch.Belief[punch.Behaviour]{Is: punch.AddressAndPortDependent, Confidence: 0.97},
		Filtering: punch.Belief[punch.Behaviour]{Is: punch.AddressAndPortDependent, Confidence: 0.6},
		Ports:     punch.Belief[punch.Ports]{Is: punch.PortsChanged, Confidence: 0.99},
		Step:      punch.Belief[int]{Is: 2, Confidence: 0.91},
		Addresses: punch.Belief[int]{Is: 2, Confidence: 0.9},
		Lifetime:  punch.Belief[punch.Lifetime]{Is: punch.Lifetime{Min: punch.Millis(30 * time.Second), Max: punch.Millis(33 * time.Second)}, Confidence: 0.9},
		Hairpin:   punch.Belief[bool]{Is: false, Confidence: 0.3},
	}
	ev := netcheckEvent{Local: []string{"192.168.1.5:7337"}, Public: []string{"203.0.113.9:1", "203.0.113.9:2"}, Servers: make([]string, 2), NAT: n, Meaning: "Much.", UDP: api.UDPWorks}
	const want = `local addresses    192.168.1.5:7337
public addresses   203.0.113.9:1 203.0.113.9:2
IPv6               no
STUN servers       2 answered
UDP                works
mapping            address-and-port-dependent (97 % sure)
filtering          address-and-port-dependent (60 % sure)
port               changed (99 % sure)
next port          +2 (91 % sure)
address pool       at least 2 addresses
idle mapping lives 30s-33s
hairpinning        no (30 % sure)
what this means    Much.`
	if got := ev.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
