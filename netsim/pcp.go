package netsim

import (
	"errors"
	"net/netip"
)

// Numbers of PCP (RFC 6887, sections 7 and 11).
const (
	pcpVersion  = 2
	pcpAnnounce = 0
	pcpMap      = 1

	pcpHeader  = 24
	pcpMapSize = 36
	pcpMaxSize = 1100

	pcpPreferFailure = 2   // an option
	pcpOptional      = 128 // options from here on may be passed over

	pcpBadVersion    = 1
	pcpRefused       = 2
	pcpMalformed     = 3
	pcpBadOpcode     = 4
	pcpBadOption     = 5
	pcpNoNetwork     = 7
	pcpNoRoom        = 8
	pcpBadProtocol   = 9
	pcpNotThatPort   = 11
	pcpOtherAddress  = 12
	pcpErrorLifetime = 30 // seconds for which an error stays one
)

// answerPCP answers a request (section 8.3). An error answers with what was asked.
func (g *gateway) answerPCP(at int64, client netip.Addr, b []byte) []byte {
	if b[0] != pcpVersion {
		return g.pcpAnswer(at, b[1], pcpBadVersion, pcpErrorLifetime, nil)
	}
	if len(b) < pcpHeader || len(b) > pcpMaxSize || len(b)%4 != 0 {
		return g.pcpAnswer(at, b[1], pcpMalformed, pcpErrorLifetime, nil)
	}
	told := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	opcode, rest := b[1], append([]byte(nil), b[pcpHeader:]...)
	var result byte
	lifetime := be.Uint32(b[4:])
	switch {
	case told != client:
		result = pcpOtherAddress
	case opcode == pcpAnnounce:
		lifetime = 0
	case opcode != pcpMap:
		result = pcpBadOpcode
	case len(rest) < pcpMapSize:
		result = pcpMalformed
	case g.Refuses:
		result = pcpRefused
	default:
		result, lifetime = g.pcpMap(at, client, rest, lifetime)
	}
	if result != 0 {
		lifetime = pcpErrorLifetime
	}
	return g.pcpAnswer(at, opcode, result, lifetime, rest)
}

func (g *gateway) pcpAnswer(at int64, opcode, result byte, lifetime uint32, rest []byte) []byte {
	b := be.AppendUint32([]byte{pcpVersion, 0x80 | opcode, 0, result}, lifetime)
	b = be.AppendUint32(b, g.epoch(at))
	return append(append(b, make([]byte, 12)...), rest...)
}

// pcpMap does what MAP asks for (section 11.3), and makes the answer of the request.
func (g *gateway) pcpMap(at int64, client netip.Addr, b []byte, lifetime uint32) (result byte, granted uint32) {
	nonce, tcp := [12]byte(b), b[12] == protoTCP
	inside, wanted := netip.AddrPortFrom(client, be.Uint16(b[16:])), be.Uint16(b[18:])
	exact, ok := pcpOptions(b[pcpMapSize:])
	if g.Hostile.WrongNonce {
		b[0] ^= 0xff
	}
	switch {
	case !ok:
		return pcpBadOption, 0
	case (b[12] != protoTCP && b[12] != protoUDP) || inside.Port() == 0:
		return pcpBadProtocol, 0
	}
	if old, _ := g.router.forwarder(tcp, client).ruleFor(at, inside); old != nil && old.nonce != nonce && old.nonce != [12]byte{} {
		return pcpRefused, 0
	}
	if lifetime == 0 {
		g.unforward(at, tcp, inside)
		return 0, 0
	}
	// RFC 6887 section 13.2: "if the PCP server is unable to map both the suggested external port and suggested external
	// address, the PCP server should not create a mapping."
	// https://www.rfc-editor.org/rfc/rfc6887#section-13.2
	if suggested := netip.AddrFrom16([16]byte(b[20:])).Unmap(); exact && !suggested.IsUnspecified() && suggested != g.external(client) {
		return pcpNotThatPort, 0
	}
	outside, lifetime, err := g.forward(at, tcp, wanted, !exact, forward{inside: inside, nonce: nonce}, lifetime)
	switch {
	case errors.Is(err, errNoAddress):
		return pcpNoNetwork, 0
	case errors.Is(err, errTaken), errors.Is(err, errOtherPort):
		return pcpNotThatPort, 0
	case err != nil:
		return pcpNoRoom, 0
	}
	be.PutUint16(b[18:], outside.Port())
	external := outside.Addr().As16()
	copy(b[20:], external[:])
	return 0, lifetime
}

// pcpOptions reads options (section 7.3): whether only the wanted port will do, and
// whether all of them are known that have to be.
func pcpOptions(b []byte) (exact, ok bool) {
	for len(b) >= 4 {
		size := 4 + (int(be.Uint16(b[2:]))+3)&^3
		switch {
		case size > len(b):
			return false, false
		case b[0] == pcpPreferFailure:
			exact = true
		case b[0] < pcpOptional:
			return false, false
		}
		b = b[size:]
	}
	return exact, len(b) == 0
}
