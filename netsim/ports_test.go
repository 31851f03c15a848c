package netsim

import (
	"net/netip"
	"testing"
)

// Which sockets can have one port at a time, as on Linux with IPV6_V6ONLY off.
func TestPortsOverlap(t *testing.T) {
	const any6, any4, one4, other4, one6 = "[::]:7", "0.0.0.0:7", "1.0.0.1:7", "1.0.0.2:7", "[2001:db8::1]:7"
	for _, tt := range []struct {
		first, second string
		both          bool
	}{
		{any6, any6, false},
		{any6, any4, false},
		{any6, one4, false},
		{any6, one6, false},
		{any4, any6, false},
		{any4, one4, false},
		{any4, one6, true},
		{one4, any4, false},
		{one4, one4, false},
		{one4, other4, true},
		{one4, one6, true},
		{one6, any6, false},
		{one6, any4, true},
		{one4, "[::ffff:1.0.0.1]:7", false},
		{one4, "1.0.0.1:8", true},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			h := w.NewHost("a", w.Internet(), Link{}, addr("1.0.0.1"), addr("1.0.0.2"), addr("2001:db8::1"))
			w.bind(h, addrPort(tt.first))
			if c, err := h.ListenUDP(addrPort(tt.second)); (err == nil) != tt.both {
				t.Errorf("%s, then %s: %v, %v", tt.first, tt.second, c, err)
			}
		})
	}
}

// A packet goes to the socket that is bound to its address, before one bound to none.
func TestMostSpecificSocket(t *testing.T) {
	one, two := &Conn{local: addrPort("1.0.0.1:7")}, &Conn{local: addrPort("1.0.0.2:7")}
	s := sockets{}
	for _, c := range []*Conn{two, one} {
		s.add(c)
	}
	if s.find(addrPort("1.0.0.1:7")) != one || s.find(addrPort("1.0.0.3:7")) != nil || s.find(addrPort("1.0.0.1:8")) != nil {
		t.Error("the wrong socket")
	}
	any4 := &Conn{local: addrPort("0.0.0.0:7")}
	s.add(any4)
	if s.find(addrPort("1.0.0.1:7")) != one || s.find(addrPort("1.0.0.3:7")) != any4 || s.find(addrPort("[2001:db8::1]:7")) != nil {
		t.Error("the wrong socket beside a wildcard")
	}
	if all := s.all(); len(all) != 3 || all[0] != any4 || all[2] != two {
		t.Error("the sockets are not in order")
	}
	for _, c := range []*Conn{two, one, any4} {
		s.remove(c)
	}
	if len(s) != 0 {
		t.Error("something is left")
	}
}

func TestEphemeralPorts(t *testing.T) {
	s, port := sockets{}, uint16(lastEphemeral)
	any6 := netip.IPv6Unspecified()
	for i := range lastEphemeral - firstEphemeral + 1 {
		port = s.free(any6, port)
		if port < firstEphemeral || port > lastEphemeral || s.taken(any6, port) {
			t.Fatalf("port %d as number %d", port, i)
		}
		s.add(&Conn{local: netip.AddrPortFrom(any6, port)})
		port = nextEphemeral(port)
	}
	if port := s.free(any6, port); port != 0 {
		t.Errorf("port %d when there is none", port)
	}
}
