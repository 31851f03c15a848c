package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh/carrier"
)

// Limits of a ticket, so that one that came from a stranger stays small.
const (
	maxTicketText  = 4096
	maxTicketAddrs = 16
	maxTicketVia   = 8
	ticketPrefix   = "xppg1"
	ticketSumLen   = 4
)

// A Contact is a peer and the addresses at which it may be reached.
type Contact struct {
	Peer  kcptransport.PeerID
	Addrs []netip.AddrPort
	URLs  []string // where it takes connections when UDP is blocked: tcp, ws or wss; at most 4
}

// A Ticket is all that is needed to reach a peer, and what it shares, in one
// line of text that survives chat programs and command lines.
//
// It names the peer by its public key, so whoever answers must own that key.
// It is no secret in itself; one with a Root lets its holder fetch that content.
type Ticket struct {
	Contact
	Via  []Contact // peers that can introduce us, tried along with Addrs; at most 8
	Root []byte    // root of shared content, 32 bytes; nil when the ticket only names a peer
}

// ErrTicket is wrapped by every error of [ParseTicket].
var ErrTicket = errors.New("not a ticket")

var ticketText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

type wireContact struct {
	Peer  []byte   `cbor:"0,keyasint"`
	Addrs [][]byte `cbor:"1,keyasint,omitempty"`
	URLs  []string `cbor:"4,keyasint,omitempty"`
}

type wireTicket struct {
	wireContact
	Via  []wireContact `cbor:"2,keyasint,omitempty"`
	Root []byte        `cbor:"3,keyasint,omitempty"`
}

// String returns the ticket as text: "xppg1" and lowercase base32 of its CBOR
// form followed by the first four bytes of that form's SHA-256.
func (t Ticket) String() string {
	w := wireTicket{wireContact: packContact(t.Contact), Root: t.Root}
	for _, c := range t.Via[:min(len(t.Via), maxTicketVia)] {
		w.Via = append(w.Via, packContact(c))
	}
	body := mustMarshal(w)
	sum := sha256.Sum256(body)
	return ticketPrefix + ticketText.EncodeToString(append(body, sum[:ticketSumLen]...))
}

// IsTicket reports whether s looks like a ticket, without checking it.
func IsTicket(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), ticketPrefix) }

// ParseTicket reads a ticket made by [Ticket.String]. Its errors wrap [ErrTicket].
func ParseTicket(s string) (Ticket, error) {
	fail := func(why string) (Ticket, error) { return Ticket{}, fmt.Errorf("api: %w: %s", ErrTicket, why) }
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, ticketPrefix) {
		return fail("it does not begin with " + ticketPrefix)
	}
	if len(s) > maxTicketText {
		return fail("it is too long")
	}
	raw, err := ticketText.DecodeString(s[len(ticketPrefix):])
	if err != nil || len(raw) <= ticketSumLen {
		return fail("it has letters that no ticket has, or was cut off")
	}
	body, sum := raw[:len(raw)-ticketSumLen], raw[len(raw)-ticketSumLen:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:ticketSumLen]) {
		return fail("its check sum is wrong (a letter is missing or changed)")
	}
	var w wireTicket
	if err := decMode.Unmarshal(body, &w); err != nil {
		return fail("its content cannot be read")
	}
	return unpackTicket(w)
}

func unpackTicket(w wireTicket) (Ticket, error) {
	var t Ticket
	var err error
	if t.Contact, err = unpackContact(w.wireContact); err != nil {
		return Ticket{}, fmt.Errorf("api: %w: %w", ErrTicket, err)
	}
	if len(w.Via) > maxTicketVia {
		return Ticket{}, fmt.Errorf("api: %w: it names %d introducers, at most %d are allowed", ErrTicket, len(w.Via), maxTicketVia)
	}
	for _, v := range w.Via {
		c, err := unpackContact(v)
		if err != nil {
			return Ticket{}, fmt.Errorf("api: %w: %w", ErrTicket, err)
		}
		t.Via = append(t.Via, c)
	}
	if len(w.Root) != 0 && len(w.Root) != 32 {
		return Ticket{}, fmt.Errorf("api: %w: its content root has %d bytes, not 32", ErrTicket, len(w.Root))
	}
	if len(w.Root) == 32 {
		t.Root = w.Root
	}
	return t, nil
}

func packContact(c Contact) wireContact {
	w := wireContact{Peer: c.Peer[:], URLs: c.URLs[:min(len(c.URLs), maxURLs)]}
	for _, a := range c.Addrs[:min(len(c.Addrs), maxTicketAddrs)] {
		b, err := a.MarshalBinary()
		if err != nil {
			continue // no address of ours fails to marshal
		}
		w.Addrs = append(w.Addrs, b)
	}
	return w
}

func unpackContact(w wireContact) (Contact, error) {
	var c Contact
	var ok bool
	if c.Peer, ok = peerID(w.Peer); !ok {
		return c, fmt.Errorf("a peer ID of %d bytes", len(w.Peer))
	}
	if len(w.Addrs) > maxTicketAddrs {
		return c, fmt.Errorf("%d addresses for one peer, at most %d are allowed", len(w.Addrs), maxTicketAddrs)
	}
	if len(w.URLs) > maxURLs {
		return c, fmt.Errorf("%d URLs for one peer, at most %d are allowed", len(w.URLs), maxURLs)
	}
	for _, u := range w.URLs {
		if err := checkToldURL(u); err != nil {
			return c, err
		}
		c.URLs = append(c.URLs, u)
	}
	for _, b := range w.Addrs {
		var a netip.AddrPort
		if len(b) > 18 { // 16 bytes of address, 2 of port: zones mean nothing elsewhere
			continue
		}
		if err := a.UnmarshalBinary(b); err != nil || !usableAddr(a) {
			continue
		}
		c.Addrs = append(c.Addrs, a)
	}
	return c, nil
}

// usableAddr says whether an address that a stranger named may be sent to. Those of connections are our own.
func usableAddr(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() &&
		a.Addr() != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !carrier.Is(a)
}

var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  16,
		MaxArrayElements: 65536,
		MaxMapPairs:      65536,
		IndefLength:      cbor.IndefLengthForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

var encMode = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// mustMarshal encodes one of this package's own wire structs, which cannot fail.
func mustMarshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic("api: encoding a wire struct: " + err.Error())
	}
	return b
}
