package netsim

import (
	"fmt"
	"testing"
)

// RFC 4787, section 4.1 and 5: what two servers see of one socket, and who may
// send to it.
func TestNATBehaviours(t *testing.T) {
	for mapping := EndpointIndependent; mapping <= AddressAndPortDependent; mapping++ {
		for filtering := EndpointIndependent; filtering <= AddressAndPortDependent; filtering++ {
			for _, ports := range []PortAllocation{PreservePorts, RandomPorts} {
				t.Run(fmt.Sprintf("mapping %d filtering %d ports %d", mapping, filtering, ports), func(t *testing.T) {
					inBubble(t, func(t *testing.T, w *world) {
						testNAT(t, w, NAT{Mapping: mapping, Filtering: filtering, Ports: ports})
					})
				})
			}
		}
	}
}

func testNAT(t *testing.T, w *world, nat NAT) {
	h, _ := w.behind("a", "1.0.0.1", nat)
	a := w.listen(h, 5000)
	s1 := w.public("s1", "2.0.0.1", Link{})
	s1a, s1b := w.listen(s1, 1), w.listen(s1, 2)
	s2 := w.listen(w.public("s2", "2.0.0.2", Link{}), 1)

	w.send(a, "2.0.0.1:1", "x")
	seen := w.wantPacket(s1a, "x")
	if keeps := seen.Port() == 5000; keeps != (nat.Ports == PreservePorts) {
		t.Errorf("outside port %d", seen.Port())
	}
	// Who may answer, having been sent nothing?
	for _, c := range []struct {
		conn   *Conn
		lets   Behaviour
		opened string
	}{{s1a, AddressAndPortDependent, "same port"}, {s1b, AddressDependent, "same address"}, {s2, EndpointIndependent, "another address"}} {
		w.send(c.conn, seen.String(), c.opened)
		if nat.Filtering <= c.lets {
			w.wantPacket(a, c.opened)
		} else {
			w.wantNothing(a)
		}
	}
	w.send(a, "2.0.0.1:2", "y")
	if other := w.wantPacket(s1b, "y"); (other == seen) != (nat.Mapping < AddressAndPortDependent) {
		t.Errorf("%v to one port, %v to another", seen, other)
	}
	w.send(a, "2.0.0.2:1", "z")
	if other := w.wantPacket(s2, "z"); (other == seen) != (nat.Mapping == EndpointIndependent) {
		t.Errorf("%v to one address, %v to another", seen, other)
	}
}

func TestNamesOfBehaviours(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		EndpointIndependent: "endpoint-independent", AddressDependent: "address-dependent",
		AddressAndPortDependent: "address-and-port-dependent", Behaviour(9): "Behaviour(9)",
		PreservePorts: "preserve", RandomPorts: "random", PortAllocation(9): "PortAllocation(9)",
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
