package api

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

func testIdentity(n byte) *kcptransport.Identity {
	return kcptransport.IdentityFromSeed([32]byte{n, 1})
}

func TestTicketRoundTrip(t *testing.T) {
	addr := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		port := rapid.Uint16Range(1, 65535).Draw(t, "port")
		if rapid.Bool().Draw(t, "v6") {
			ip := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: rapid.Byte().Draw(t, "host")}
			return netip.AddrPortFrom(netip.AddrFrom16(ip), port)
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "host")}), port)
	})
	contact := rapid.Custom(func(t *rapid.T) Contact {
		c := Contact{Peer: testIdentity(rapid.Byte().Draw(t, "peer")).ID()}
		if as := rapid.SliceOfN(addr, 0, maxTicketAddrs).Draw(t, "addrs"); len(as) > 0 {
			c.Addrs = as
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		want := Ticket{Contact: contact.Draw(t, "contact")}
		if via := rapid.SliceOfN(contact, 0, 3).Draw(t, "via"); len(via) > 0 {
			want.Via = via
		}
		if rapid.Bool().Draw(t, "content") {
			want.Root = bytes.Repeat([]byte{7}, 32)
		}
		got, err := ParseTicket(" " + want.String() + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

func TestTicketErrors(t *testing.T) {
	good := Ticket{Contact: Contact{Peer: testIdentity(1).ID()}}.String()
	for name, text := range map[string]string{
		"empty":        "",
		"other prefix": "magnet:?xt=1",
		"cut off":      good[:len(good)-3],
		"mistyped":     strings.Replace(good, good[10:11], map[bool]string{true: "b", false: "a"}[good[10] == 'a'], 1),
		"other letter": good[:9] + "!" + good[10:],
		"only prefix":  ticketPrefix,
		"endless":      ticketPrefix + strings.Repeat("a", maxTicketText),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseTicket(text); !errors.Is(err, ErrTicket) {
				t.Errorf("got error %v, want one that wraps ErrTicket", err)
			}
		})
	}
}

func TestTicketDropsUselessAddresses(t *testing.T) {
	in := Ticket{Contact: Contact{Peer: testIdentity(1).ID(), Addrs: []netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:7"),
		netip.MustParseAddrPort("192.0.2.1:0"),
		netip.MustParseAddrPort("224.0.0.1:7"),
		netip.MustParseAddrPort("255.255.255.255:7"),
		netip.MustParseAddrPort("192.0.2.1:7"),
	}}}
	got, err := ParseTicket(in.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := in.Addrs[4:]; !reflect.DeepEqual(got.Addrs, want) {
		t.Errorf("addresses %v, want %v", got.Addrs, want)
	}
}

func FuzzParseTicket(f *testing.F) {
	f.Add(Ticket{Contact: Contact{Peer: testIdentity(1).ID()}, Root: make([]byte, 32)}.String())
	f.Fuzz(func(t *testing.T, s string) {
		ticket, err := ParseTicket(s)
		if err != nil {
			return
		}
		again, err := ParseTicket(ticket.String())
		if err != nil || !reflect.DeepEqual(again, ticket) {
			t.Fatalf("%+v became %+v (%v)", ticket, again, err)
		}
	})
}
