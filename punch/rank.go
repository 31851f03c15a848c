package punch

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/2xppg/xppg/kcptransport"
)

// class orders candidates before their priority does. Its text goes into the record.
type class uint8

const (
	sameNetwork  class = iota // an address inside the network that both sides are in
	global                    // an address of the internet
	ownNAT                    // an address of the internet that is that of our own NAT: only hairpinning reaches it
	otherNetwork              // an address inside a network that we do not seem to be in
	otherFamily               // IPv6 without an IPv6 address of our own, or the same with IPv4
	ourselves                 // one of our own addresses
)

// note tells in a few words what makes an address of the class unlikely to answer.
func (c class) note() string {
	switch c {
	case ownNAT:
		return "behind the same NAT as we are: takes one that hairpins"
	case otherNetwork:
		return "private address of another network"
	case otherFamily:
		return "we have no address of its family"
	case ourselves:
		return "is also an address of ours"
	}
	return ""
}

// ranked is a candidate of the other side and its class.
type ranked struct {
	kcptransport.Candidate
	class class
}

// rank returns the remote candidates that packets can be sent to, each address once, in the order of trying them.
func rank(o Observations) []ranked {
	at := place(o)
	best := map[netip.AddrPort]ranked{}
	for _, c := range o.Remote {
		if !c.Usable() {
			continue
		}
		if b, known := best[c.Addr]; !known || c.Compare(b.Candidate) < 0 {
			best[c.Addr] = ranked{c, at.classify(c.Addr)}
		}
	}
	out := make([]ranked, 0, len(best))
	for _, r := range best {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.class, b.class), a.Compare(b.Candidate))
	})
	return out[:min(len(out), maxTargets)]
}

// location is what our own candidates, and what both sides' have in common, tell of where we are.
type location struct {
	own      map[netip.AddrPort]bool
	public   map[netip.Addr]bool // IPv4 addresses of our side on the internet
	hosts    []netip.Addr
	families map[bool]bool // Is4 → we have an address of that family
	together bool          // both sides have an address on the internet in common
	unknown  bool          // one side knows no address of its own on the internet
}

func place(o Observations) location {
	at := location{own: map[netip.AddrPort]bool{}, public: map[netip.Addr]bool{}, families: map[bool]bool{}}
	for _, c := range o.Local {
		ip := c.Addr.Addr()
		at.own[c.Addr] = true
		at.families[ip.Is4()] = true
		if c.Type == kcptransport.Host {
			at.hosts = append(at.hosts, ip)
		}
		if ip.Is4() && !Private(ip) {
			at.public[ip] = true
		}
	}
	remote := 0
	for _, c := range o.Remote {
		if ip := c.Addr.Addr(); ip.Is4() && !Private(ip) {
			remote++
			at.together = at.together || at.public[ip]
		}
	}
	at.unknown = len(at.public) == 0 || remote == 0
	return at
}

func (at location) classify(addr netip.AddrPort) class {
	ip := addr.Addr()
	switch {
	case at.own[addr]:
		return ourselves
	case len(at.families) > 0 && !at.families[ip.Is4()]:
		return otherFamily
	case Private(ip) && (at.together || at.unknown && at.near(ip)):
		return sameNetwork
	case Private(ip):
		return otherNetwork
	case at.public[ip]:
		return ownNAT
	}
	return global
}

// near reports whether an address looks like one of the networks of this host: the prefix lengths are those that
// nearly all local networks have.
func (at location) near(ip netip.Addr) bool {
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	for _, h := range at.hosts {
		if h.Is4() != ip.Is4() {
			continue
		}
		if p, err := h.Prefix(bits); err == nil && p.Contains(ip) {
			return true
		}
	}
	return false
}
