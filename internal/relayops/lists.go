package relayops

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/2xppg/xppg/kcptransport"
)

// List is a set of peers, by their IDs and by where they are. It must not be changed once it is made; nil has nobody in it.
type List struct {
	ids      map[kcptransport.PeerID]bool
	prefixes map[netip.Prefix]bool
	lengths  map[int]bool // of the prefixes: each is looked up, so a long list costs no more than a short one
}

// ReadList reads a list: one peer ID, address or prefix (CIDR) on a line, # begins a comment. Errors tell the line.
func ReadList(file string) (*List, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseList(file, f)
}

func parseList(file string, r io.Reader) (*List, error) {
	l := &List{ids: map[kcptransport.PeerID]bool{}, prefixes: map[netip.Prefix]bool{}, lengths: map[int]bool{}}
	err := eachLine(file, r, func(_ int, text string) error { return l.add(text) })
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l *List) add(text string) error {
	if id, err := kcptransport.ParsePeerID(text); err == nil {
		l.ids[id] = true
		return nil
	}
	p, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("%q is neither a peer ID nor an address or prefix such as 192.0.2.0/24", text)
	case p.Addr().Is4In6():
		return fmt.Errorf("%q: write it as IPv4", text)
	case p != p.Masked():
		return fmt.Errorf("%q has bits behind the prefix (is %s meant?)", text, p.Masked())
	}
	l.prefixes[p] = true
	l.lengths[p.Bits()] = true
	return nil
}

// Has reports whether a peer is in the list, or where it is.
func (l *List) Has(id kcptransport.PeerID, addr netip.Addr) bool {
	if l == nil {
		return false
	}
	if l.ids[id] {
		return true
	}
	addr = addr.Unmap().WithZone("")
	for bits := range l.lengths {
		if p, err := addr.Prefix(bits); err == nil && l.prefixes[p] {
			return true
		}
	}
	return false
}

// Len returns the number of entries.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.ids) + len(l.prefixes)
}

// Lists say who may use a relay: with an allow-list only who is on it, even if that is nobody, and never who is on the
// deny-list. Nil is no list.
type Lists struct {
	Allow, Deny *List
}

// ReadLists reads both lists. "" is no list.
func ReadLists(allow, deny string) (l Lists, err error) {
	var allowErr, denyErr error
	if allow != "" {
		l.Allow, allowErr = ReadList(allow)
	}
	if deny != "" {
		l.Deny, denyErr = ReadList(deny)
	}
	if err := errors.Join(allowErr, denyErr); err != nil {
		return Lists{}, fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return l, nil
}

// Admit reports whether a peer may use the relay. addr is where it is; when that is not known, prefixes neither allow nor
// deny it.
func (l Lists) Admit(id kcptransport.PeerID, addr netip.Addr) bool {
	return !l.Deny.Has(id, addr) && (l.Allow == nil || l.Allow.Has(id, addr))
}
