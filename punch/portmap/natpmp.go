package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// NAT-PMP, RFC 6886 section 3: the public address, and mappings for UDP.
//
//	request   version 0 | op 0
//	answer    version 0 | op 128 | result (2) | seconds of epoch (4) | public address (4)
//	request   version 0 | op 1 | 0 (2) | private port (2) | public port (2) | lifetime (4)
//	answer    version 0 | op 129 | result (2) | seconds of epoch (4) | private port (2) | public port (2) | lifetime (4)
const (
	pmpAddress = 0
	pmpMapUDP  = 1
	pmpAnswer  = 128
)

// pmpCode is a result that is not success (RFC 6886 section 3.5).
type pmpCode uint16

func (c pmpCode) Error() string {
	switch c {
	case 1:
		return "the router speaks another version of NAT-PMP"
	case 2:
		return "the router refuses: port mapping is turned off"
	case 3:
		return "the router has no connection itself"
	case 4:
		return "the router has no port left"
	case 5:
		return "the router knows NAT-PMP in part only"
	}
	return fmt.Sprintf("the router refuses (NAT-PMP result %d)", uint16(c))
}

func pmpAddressRequest() []byte { return []byte{0, pmpAddress} }

// pmpMapRequest asks for a public port, or for the removal of all mappings of the private port: lifetime 0, public port 0.
func pmpMapRequest(private, public uint16, lifetime uint32) []byte {
	b := []byte{0, pmpMapUDP, 0, 0}
	b = binary.BigEndian.AppendUint16(b, private)
	b = binary.BigEndian.AppendUint16(b, public)
	return binary.BigEndian.AppendUint32(b, lifetime)
}

// pmpReply is an answer; which fields are set depends on the operation.
type pmpReply struct {
	epoch    uint32
	addr     netip.Addr
	private  uint16
	public   uint16
	lifetime time.Duration
}

var errNotPMP = errors.New("no NAT-PMP answer")

// parsePMP reads an answer to a request of the operation. Errors are a pmpCode or errNotPMP.
func parsePMP(b []byte, op byte) (r pmpReply, err error) {
	if len(b) < 4 || b[0] != 0 || b[1] != pmpAnswer+op {
		return r, errNotPMP
	}
	if code := binary.BigEndian.Uint16(b[2:]); code != 0 {
		return r, pmpCode(code)
	}
	if len(b) < 12 || op == pmpMapUDP && len(b) < 16 {
		return r, errNotPMP
	}
	r.epoch = binary.BigEndian.Uint32(b[4:])
	if op == pmpAddress {
		r.addr = netip.AddrFrom4([4]byte(b[8:]))
		return r, nil
	}
	r.private = binary.BigEndian.Uint16(b[8:])
	r.public = binary.BigEndian.Uint16(b[10:])
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second
	return r, nil
}
