package netsim

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

var be = binary.BigEndian

// Numbers of NAT-PMP (RFC 6886, sections 3.2 to 3.5).
const (
	pmpVersion = 0
	pmpAnswer  = 128

	pmpExternal = 0
	pmpMapUDP   = 1
	pmpMapTCP   = 2

	pmpBadVersion = 1
	pmpRefused    = 2
	pmpNoNetwork  = 3
	pmpNoRoom     = 4
	pmpBadOpcode  = 5
)

// answerMapping answers a datagram to port 5351, which begins with the version.
func (g *gateway) answerMapping(from netip.AddrPort, b []byte) (reply []byte) {
	if len(b) < 2 || b[1] >= pmpAnswer {
		return nil
	}
	g.atRouter(func(at int64) {
		switch {
		case b[0] == pmpVersion && from.Addr().Is6(): // RFC 6886 knows IPv4 alone
		case b[0] == pmpVersion && g.NATPMP:
			reply = g.answerPMP(at, from.Addr(), b)
		case g.PCP:
			reply = g.answerPCP(at, from.Addr(), b)
		default: // "a NAT gateway that only supports NAT-PMP": RFC 6886, section 3.5
			reply = g.pmpHeader(at, b[1], pmpBadVersion)
		}
	})
	return reply
}

// pmpHeader is what all answers begin with.
func (g *gateway) pmpHeader(at int64, opcode byte, result uint16) []byte {
	b := be.AppendUint16([]byte{pmpVersion, pmpAnswer | opcode}, result)
	return be.AppendUint32(b, g.epoch(at))
}

func (g *gateway) answerPMP(at int64, client netip.Addr, b []byte) []byte {
	opcode := b[1]
	external := g.external(client)
	switch {
	case opcode > pmpMapTCP:
		return g.pmpHeader(at, opcode, pmpBadOpcode)
	case g.Refuses:
		return g.pmpHeader(at, opcode, pmpRefused)
	case !external.IsValid():
		return g.pmpHeader(at, opcode, pmpNoNetwork)
	case opcode == pmpExternal:
		return append(g.pmpHeader(at, opcode, 0), external.AsSlice()...)
	case len(b) < 12:
		return nil
	}
	tcp, port, wanted, seconds := opcode == pmpMapTCP, be.Uint16(b[4:]), be.Uint16(b[6:]), be.Uint32(b[8:])
	inside := netip.AddrPortFrom(client, port)
	var result uint16
	switch {
	case seconds == 0: // section 3.4
		wanted = 0
		g.unforward(at, tcp, inside)
	case port == 0:
		return nil
	default:
		outside, granted, err := g.forward(at, tcp, wanted, true, forward{inside: inside}, seconds)
		wanted, seconds = outside.Port(), granted
		if err != nil {
			result = pmpNoRoom
			if errors.Is(err, errNoAddress) {
				result = pmpNoNetwork
			}
		}
	}
	a := be.AppendUint16(g.pmpHeader(at, opcode, result), port)
	return be.AppendUint32(be.AppendUint16(a, wanted), seconds)
}

// unforward removes the forwardings to an inside address; port 0 means all ports.
func (g *gateway) unforward(at int64, tcp bool, inside netip.AddrPort) {
	t := g.router.forwarder(tcp, inside.Addr())
	for outside, f := range t.rules {
		if f.inside == inside || (inside.Port() == 0 && f.inside.Addr() == inside.Addr()) || f.over(at) {
			t.unforward(outside)
		}
	}
}
