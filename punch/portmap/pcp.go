package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// PCP, RFC 6887 sections 7, 11 and 14: the opcodes ANNOUNCE, which only says that the server is there, and MAP for UDP.
//
//	request   version 2 | opcode | 0 (2) | lifetime (4) | our address (16)
//	answer    version 2 | 128 + opcode | 0 | result | lifetime (4) | seconds of epoch (4) | 0 (12)
//	MAP adds  nonce (12) | protocol 17 | 0 (3) | internal port (2) | external port (2) | external address (16)
const (
	pcpVersion  = 2
	pcpAnnounce = 0
	pcpMap      = 1
	pcpAnswer   = 128
	pcpHeader   = 24
	pcpMapSize  = pcpHeader + 36
	pcpMax      = 1100 // RFC 6887 section 7
	pcpUDP      = 17

	pcpUnsuppVersion = 1
	pcpUnsuppOpcode  = 4
)

type pcpNonce [12]byte

// pcpCode is a result that is not success (RFC 6887 section 7.4).
type pcpCode uint8

func (c pcpCode) Error() string {
	switch c {
	case pcpUnsuppVersion:
		return "the router speaks another version of PCP"
	case 2:
		return "the router refuses: we may not map ports"
	case pcpUnsuppOpcode:
		return "the router knows PCP in part only"
	case 7:
		return "the router has no connection itself"
	case 8:
		return "the router has no port left"
	case 10:
		return "the router has no port left for us"
	case 11:
		return "the router cannot give this port"
	case 12:
		return "another NAT stands between us and the router"
	}
	return fmt.Sprintf("the router refuses (PCP result %d)", uint8(c))
}

// errPMPOnly: RFC 6887 appendix A: a server of NAT-PMP answers with version 0.
var errPMPOnly = errors.New("the router speaks NAT-PMP, which came before PCP")

var errNotPCP = errors.New("no PCP answer")

func pcpAnnounceRequest(us netip.Addr) []byte { return pcpRequestHeader(pcpAnnounce, 0, us) }

func pcpRequestHeader(opcode byte, lifetime uint32, us netip.Addr) []byte {
	b := append(make([]byte, 0, pcpMapSize), pcpVersion, opcode, 0, 0)
	b = binary.BigEndian.AppendUint32(b, lifetime)
	a := us.As16()
	return append(b, a[:]...)
}

// pcpWant is what a MAP request says. A lifetime of 0 removes the mapping.
type pcpWant struct {
	us       netip.Addr
	nonce    pcpNonce
	port     uint16
	suggest  netip.AddrPort // what we had before; invalid means any
	lifetime uint32
}

func pcpMapRequest(w pcpWant) []byte {
	b := pcpRequestHeader(pcpMap, w.lifetime, w.us)
	b = append(b, w.nonce[:]...)
	b = append(b, pcpUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, w.port)
	b = binary.BigEndian.AppendUint16(b, w.suggest.Port())
	// RFC 6887 section 11.1: no preference is said with all zeros, for IPv4 in its mapped form.
	any6 := netip.IPv6Unspecified()
	if w.us.Is4() {
		any6 = netip.AddrFrom16(netip.IPv4Unspecified().As16())
	}
	if w.suggest.Addr().IsValid() {
		any6 = w.suggest.Addr()
	}
	a := any6.As16()
	return append(b, a[:]...)
}

// pcpReply is an answer; the external address is of MAP only.
type pcpReply struct {
	epoch    uint32
	lifetime time.Duration
	external netip.AddrPort
}

// parsePCP reads an answer to a request with this opcode, of which MAP has the nonce and port of w. Errors are a pcpCode,
// errPMPOnly, or errNotPCP for what is no answer to it. With a pcpCode the epoch is set.
func parsePCP(b []byte, opcode byte, w pcpWant) (r pcpReply, err error) {
	if len(b) >= 4 && b[0] == 0 && b[1]&pcpAnswer != 0 {
		return r, errPMPOnly
	}
	if len(b) < pcpHeader || len(b) > pcpMax || len(b)%4 != 0 || b[1] != pcpAnswer|opcode {
		return r, errNotPCP
	}
	code := pcpCode(b[3])
	if b[0] != pcpVersion {
		if code == pcpUnsuppVersion {
			return r, code
		}
		return r, errNotPCP
	}
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	r.epoch = binary.BigEndian.Uint32(b[8:])
	if opcode == pcpAnnounce {
		return r, resultError(code)
	}
	if len(b) < pcpMapSize {
		return r, errNotPCP
	}
	m := b[pcpHeader:]
	if pcpNonce(m[:12]) != w.nonce || m[12] != pcpUDP || binary.BigEndian.Uint16(m[16:]) != w.port {
		return r, errNotPCP
	}
	r.external = netip.AddrPortFrom(netip.AddrFrom16([16]byte(m[20:])).Unmap(), binary.BigEndian.Uint16(m[18:]))
	return r, resultError(code)
}

func resultError(code pcpCode) error {
	if code != 0 {
		return code
	}
	return nil
}
