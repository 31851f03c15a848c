package kcptransport

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1:80", "[2001:db8::1]:65535": "[2001:db8::1]:65535",
		"[::ffff:192.0.2.1]:80": "192.0.2.1:80", "[fe80::1%eth0]:1": "[fe80::1]:1", "0.0.0.0:0": "0.0.0.0:0",
	} {
		b := appendAddr(nil, netip.MustParseAddrPort(in))
		if got, ok := parseAddr(b); !ok || got.String() != want {
			t.Errorf("%s: %v, %v", in, got, ok)
		}
	}
	if b := appendAddr(nil, netip.AddrPort{}); len(b) != 0 {
		t.Errorf("no address became %x", b)
	}
	mapped := append(netip.MustParseAddr("::ffff:192.0.2.1").AsSlice(), 0, 80)
	for _, b := range [][]byte{nil, make([]byte, 5), make([]byte, 7), make([]byte, 19), mapped} {
		if a, ok := parseAddr(b); ok {
			t.Errorf("%x became %v", b, a)
		}
	}
}
