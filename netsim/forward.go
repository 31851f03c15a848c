package netsim

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// maxForwards is how many port forwardings a router has of each protocol.
const maxForwards = 1024

// A Forward is a port of a router that is open to everybody outside, and stands for an
// address inside, because somebody inside asked for it by a protocol of [Gateway].
type Forward struct {
	TCP             bool // otherwise UDP
	Outside, Inside netip.AddrPort
	Left            time.Duration // until it expires; negative: never
	Description     string        // by UPnP
}

// Forwards returns what port forwardings there are, those of UDP first, by ports.
func (r *Router) Forwards() []Forward {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	at := r.net.now()
	var out []Forward
	for _, tcp := range []bool{false, true} {
		for _, t := range r.protocol(tcp).both() {
			for outside, f := range t.rules {
				if !f.over(at) {
					out = append(out, Forward{tcp, outside, f.inside, f.left(at), f.description})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Forward) int {
		if a.TCP != b.TCP {
			return map[bool]int{true: 1, false: -1}[a.TCP]
		}
		return cmp.Or(a.Outside.Compare(b.Outside))
	})
	return out
}

func (r *Router) protocol(tcp bool) tables {
	if tcp {
		return r.tcp
	}
	return r.udp
}

func (t tables) both() [2]*table { return [2]*table{t.nat, t.wall} }

// forwarder returns the table with the forwardings to an inside address: of the NAT, or of the firewall for what is not
// translated.
func (r *Router) forwarder(tcp bool, inside netip.Addr) *table {
	if r.translates(inside) {
		return r.protocol(tcp).nat
	}
	return r.protocol(tcp).wall
}

// outsideOf returns the address by which those outside reach an inside one, if the router has one for it.
func (r *Router) outsideOf(inside netip.Addr) netip.Addr {
	if r.translates(inside) {
		return r.home(inside)
	}
	return inside
}

// forward is a Forward as the table has it.
type forward struct {
	inside      netip.AddrPort
	until       int64
	nonce       [12]byte // who may change it, by PCP
	description string
}

func (f *forward) over(at int64) bool { return f.until <= at }

func (f *forward) left(at int64) time.Duration {
	if f.until == never {
		return -1
	}
	return time.Duration(f.until - at)
}

// forwards are the port forwardings of a NAT, and what came in by them: answers to that
// leave from the port that it was for, whatever the NAT does else.
type forwards struct {
	rules    map[netip.AddrPort]*forward       // by outside address
	inside   map[netip.AddrPort]netip.AddrPort // the first of the outside addresses of an inside one
	sessions map[mappingKey]*session
}

type session struct {
	outside netip.AddrPort
	used    int64
}

func newForwards() forwards {
	return forwards{map[netip.AddrPort]*forward{}, map[netip.AddrPort]netip.AddrPort{}, map[mappingKey]*session{}}
}

// rule returns the forwarding of an outside address, or nil.
func (t *table) rule(at int64, outside netip.AddrPort) *forward {
	f := t.rules[outside]
	if f != nil && f.over(at) {
		t.unforward(outside)
		return nil
	}
	return f
}

// ruleFor returns the forwarding to an inside address, or nil.
func (t *table) ruleFor(at int64, inside netip.AddrPort) (*forward, netip.AddrPort) {
	outside := t.inside[inside]
	return t.rule(at, outside), outside
}

func (t *table) unforward(outside netip.AddrPort) {
	if f := t.rules[outside]; f != nil {
		delete(t.rules, outside)
		if t.inside[f.inside] == outside {
			delete(t.inside, f.inside)
		}
	}
}

// forwarded returns for whom a packet from outside is by a forwarding.
func (t *table) forwarded(at int64, outside, remote netip.AddrPort) (netip.AddrPort, bool) {
	if len(t.rules)+len(t.sessions) == 0 {
		return netip.AddrPort{}, false
	}
	f := t.rule(at, outside)
	if f == nil {
		return netip.AddrPort{}, false
	}
	m := t.byClaim[t.claim(outside, remote)]
	if m != nil && !m.router && !t.over(at, m) && m.key.inside != f.inside { // it is an answer to somebody else
		return netip.AddrPort{}, false
	}
	t.remember(at, mappingKey{f.inside, remote}, outside)
	return f.inside, true
}

// remember notes that somebody outside was let in.
func (t *table) remember(at int64, key mappingKey, outside netip.AddrPort) {
	if len(t.sessions) >= maxMappings {
		for k, s := range t.sessions {
			if t.expired(at, s.used) {
				delete(t.sessions, k)
			}
		}
	}
	if len(t.sessions) < maxMappings {
		t.sessions[key] = &session{outside, at}
	}
}

// answers returns the outside address for a packet from inside that has one by a
// forwarding: an answer to what came in by it, or everything when the NAT's mappings do
// not depend on the destination.
func (t *table) answers(at int64, inside, remote netip.AddrPort) (netip.AddrPort, bool) {
	if len(t.rules)+len(t.sessions) == 0 {
		return netip.AddrPort{}, false
	}
	if s := t.sessions[mappingKey{inside, remote}]; s != nil && !t.expired(at, s.used) {
		s.used = at
		return s.outside, true
	}
	f, outside := t.ruleFor(at, inside)
	return outside, f != nil && t.Mapping == EndpointIndependent
}

// Why there is no forwarding.
var (
	errNoForwards = errors.New("netsim: the router has no room for another port forwarding")
	errNoAddress  = errors.New("netsim: the router has no address outside")
	errTaken      = errors.New("netsim: somebody else has the port")
	errOtherPort  = errors.New("netsim: what is not translated keeps its port")
)

// forwardPort makes a forwarding from a port outside to an address inside, or makes the
// one that there is live for longer. It returns the outside address. When the port is
// not free, or 0, and any is true, it takes another one.
func (r *Router) forwardPort(at int64, tcp bool, port uint16, any bool, f forward) (netip.AddrPort, error) {
	t := r.forwarder(tcp, f.inside.Addr())
	home := r.outsideOf(f.inside.Addr())
	if !home.IsValid() {
		return netip.AddrPort{}, errNoAddress
	}
	if !r.translates(f.inside.Addr()) { // a firewall has no other port to give
		if !any && port != f.inside.Port() {
			return netip.AddrPort{}, errOtherPort
		}
		port = f.inside.Port()
	}
	outside := netip.AddrPortFrom(home, port)
	if any {
		if old, at := t.ruleFor(at, f.inside); old != nil {
			outside = at
		}
	}
	if old := t.rule(at, outside); old != nil && old.inside == f.inside {
		*old = f
		return outside, nil
	}
	if len(t.rules) >= maxForwards {
		return netip.AddrPort{}, errNoForwards
	}
	if !t.forwardable(at, outside, f.inside) {
		if !any {
			return netip.AddrPort{}, errTaken
		}
		first := r.net.rand.IntN(natPorts)
		for i := 0; ; i++ {
			if i == natPorts {
				return netip.AddrPort{}, errNoForwards
			}
			outside = netip.AddrPortFrom(home, uint16(firstNATPort+(first+i)%natPorts))
			if t.forwardable(at, outside, f.inside) {
				break
			}
		}
	}
	t.rules[outside] = &f
	if first, _ := t.ruleFor(at, f.inside); first == nil {
		t.inside[f.inside] = outside
	}
	return outside, nil
}

// forwardable reports whether an outside address may be given to an inside one.
func (t *table) forwardable(at int64, outside, inside netip.AddrPort) bool {
	if outside.Port() == 0 || t.rule(at, outside) != nil {
		return false
	}
	m := t.byClaim[claim{outside: outside}] // of NATs that overload ports nobody has one for himself
	return m == nil || t.over(at, m) || m.key.inside == inside
}
