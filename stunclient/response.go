package stunclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/pion/stun/v2"
)

const maxReason = 127 // characters, the limit of RFC 8489 section 14.8

// response is what an answer to a Binding request says.
type response struct {
	mapped netip.AddrPort
	other  netip.AddrPort // OTHER-ADDRESS of RFC 5780, or CHANGED-ADDRESS of RFC 3489
	origin netip.AddrPort // RESPONSE-ORIGIN of RFC 5780, or SOURCE-ADDRESS of RFC 3489

	failed    bool // an error response
	code      int
	reason    string
	alternate netip.AddrPort

	unknown []stun.AttrType // attributes that make a success response void
}

var errNoAddress = errors.New("the answer tells no usable address")

// parseResponse reads an answer to a Binding request. An error means that it is to be ignored.
func parseResponse(b []byte) (*response, error) {
	m, err := parse(b)
	if err != nil {
		return nil, err
	}
	r := new(response)
	switch m.Type {
	case stun.BindingSuccess:
		err = r.readSuccess(m)
	case stun.BindingError:
		err = r.readError(m)
	default:
		err = fmt.Errorf("a %v is no answer", m.Type.Value())
	}
	return r, err
}

func (r *response) readSuccess(m *stun.Message) error {
	if r.unknown = unknownRequired(m, knownInResponse); len(r.unknown) > 0 {
		return nil
	}
	ok := false
	if r.mapped, ok = address(m, stun.AttrXORMappedAddress, mask(m.TransactionID)); !ok {
		// A server of RFC 3489 has only this. It is no worse than the XOR form, unless a router rewrites addresses in
		// payloads.
		if r.mapped, ok = address(m, stun.AttrMappedAddress, [16]byte{}); !ok {
			return errNoAddress
		}
	}
	r.other = anyAddress(m, stun.AttrOtherAddress, stun.AttrChangedAddress)
	r.origin = anyAddress(m, stun.AttrResponseOrigin, stun.AttrSourceAddress)
	return nil
}

func (r *response) readError(m *stun.Message) error {
	var e stun.ErrorCodeAttribute
	if err := e.GetFrom(m); err != nil {
		return err
	}
	if e.Code < 300 || e.Code > 699 {
		return fmt.Errorf("error code %d is not in 300 to 699", e.Code)
	}
	r.failed, r.code, r.reason = true, int(e.Code), printable(e.Reason)
	r.alternate = anyAddress(m, stun.AttrAlternateServer)
	return nil
}

// knownInResponse lists what servers put in answers, the old ones of RFC 3489 included.
func knownInResponse(t stun.AttrType) bool {
	switch t {
	case stun.AttrMappedAddress, stun.AttrXORMappedAddress, stun.AttrSourceAddress, stun.AttrChangedAddress,
		stun.AttrPadding, stun.AttrResponsePort:
		return true
	}
	return knownInRequest(t)
}

// address reads the first attribute of a type.
func address(m *stun.Message, t stun.AttrType, mask [16]byte) (netip.AddrPort, bool) {
	v, err := m.Get(t)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return parseAddress(v, mask)
}

// anyAddress reads the first of several attributes that holds an address, the zero AddrPort if none does.
func anyAddress(m *stun.Message, types ...stun.AttrType) netip.AddrPort {
	for _, t := range types {
		if a, ok := address(m, t, [16]byte{}); ok {
			return a
		}
	}
	return netip.AddrPort{}
}

// printable makes text from the network fit for an error message.
func printable(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(b[:min(len(b), 4*maxReason)]))
	if r := []rune(s); len(r) > maxReason {
		s = string(r[:maxReason])
	}
	return s
}
