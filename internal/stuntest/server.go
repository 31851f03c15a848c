// Package stuntest is a STUN server with two addresses and two ports, as RFC 5780 wants it, for tests. It runs on any
// sockets, so also on those of netsim.
package stuntest

import (
	"net/netip"

	"github.com/pion/stun/v2"
)

// Server answers on the four combinations of two addresses and two ports. The zero value of its switches is a server
// that does all that RFC 5780 section 7 asks for. It keeps nothing and may be used by several goroutines.
type Server struct {
	Addrs [2]netip.Addr
	Ports [2]uint16

	NoChange       bool // answers CHANGE-REQUEST from where it was asked
	NoResponsePort bool // refuses RESPONSE-PORT with error 420
}

// Answer is a packet to send: from one of the server's sockets to an address.
type Answer struct {
	Bytes    []byte
	From, To netip.AddrPort
}

// At returns one of the four addresses, by the indices of address and port.
func (s *Server) At(addr, port int) netip.AddrPort {
	return netip.AddrPortFrom(s.Addrs[addr], s.Ports[port])
}

// Sockets returns all four addresses, the primary one first.
func (s *Server) Sockets() []netip.AddrPort {
	return []netip.AddrPort{s.At(0, 0), s.At(0, 1), s.At(1, 0), s.At(1, 1)}
}

// Respond answers a Binding request that came from an address to one of the server's. It is false for anything else.
func (s *Server) Respond(request []byte, from, at netip.AddrPort) (a Answer, ok bool) {
	m := &stun.Message{Raw: append([]byte(nil), request...)}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return a, false
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	a = Answer{From: at, To: from}
	if v, err := m.Get(stun.AttrResponsePort); err == nil && len(v) >= 2 {
		if s.NoResponsePort {
			a.Bytes = build(m, stun.BindingError, stun.CodeUnknownAttribute)
			return a, true
		}
		a.To = netip.AddrPortFrom(from.Addr(), uint16(v[0])<<8|uint16(v[1]))
	}
	if v, err := m.Get(stun.AttrChangeRequest); err == nil && len(v) == 4 && !s.NoChange {
		a.From = s.change(at, v[3]&4 != 0, v[3]&2 != 0)
	}
	mapped, origin, other := stun.XORMappedAddress{}, stun.ResponseOrigin{}, stun.OtherAddress{}
	mapped.IP, mapped.Port = from.Addr().AsSlice(), int(from.Port())
	origin.IP, origin.Port = a.From.Addr().AsSlice(), int(a.From.Port())
	o := s.change(at, true, true)
	other.IP, other.Port = o.Addr().AsSlice(), int(o.Port())
	a.Bytes = build(m, stun.BindingSuccess, &mapped, &origin, &other)
	return a, true
}

// change returns the address that differs from at in what is asked for.
func (s *Server) change(at netip.AddrPort, ip, port bool) netip.AddrPort {
	addr, p := at.Addr(), at.Port()
	if ip {
		addr = s.Addrs[0]
		if at.Addr() == s.Addrs[0] {
			addr = s.Addrs[1]
		}
	}
	if port {
		p = s.Ports[0]
		if at.Port() == s.Ports[0] {
			p = s.Ports[1]
		}
	}
	return netip.AddrPortFrom(addr, p)
}

func build(request *stun.Message, setters ...stun.Setter) []byte {
	id := stun.NewTransactionIDSetter(request.TransactionID)
	return stun.MustBuild(append([]stun.Setter{id}, setters...)...).Raw
}
