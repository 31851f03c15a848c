package stunclient

import (
	"context"
	"errors"
	"net/netip"

	"github.com/pion/stun/v2"
)

// changeRequest is the attribute that asks a server to answer from another of its addresses.
// https://www.rfc-editor.org/rfc/rfc5780.html#section-7.2
type changeRequest struct{ ip, port bool }

// AddTo implements [stun.Setter].
func (c changeRequest) AddTo(m *stun.Message) error {
	v := make([]byte, 4)
	if c.ip {
		v[3] |= 4
	}
	if c.port {
		v[3] |= 2
	}
	m.Add(stun.AttrChangeRequest, v)
	return nil
}

// changed makes the request to a server to answer from another address. An answer from where it was asked is taken,
// too: it shows that the server ignores what it was asked for.
func changed(server, other netip.AddrPort, c changeRequest) *transaction {
	from := server
	if c.ip {
		from = netip.AddrPortFrom(other.Addr(), from.Port())
	}
	if c.port {
		from = netip.AddrPortFrom(from.Addr(), other.Port())
	}
	return &transaction{server: server, also: from, attributes: []stun.Setter{c}}
}

// mappingTests asks the server's other address at both ports. Together with the answer of the first they tell
// the mapping.
// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.3
func (s *spare) mappingTests(ctx context.Context, server, other netip.AddrPort) (seen []Result) {
	second := netip.AddrPortFrom(other.Addr(), server.Port())
	outcomes := make([]outcome, 2)
	s.ask(ctx, []*transaction{{server: second}, {server: other}}, func(i int, o outcome) { outcomes[i] = o })
	for _, o := range outcomes {
		if o.err == nil {
			seen = append(seen, o.result)
		}
	}
	return seen
}

// filteringTests lets the server answer from addresses that this socket never sent to.
// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.4
func (s *spare) filteringTests(ctx context.Context, server, other netip.AddrPort) (Dependence, error) {
	if _, err := s.Binding(ctx, server); err != nil {
		return Unknown, err
	}
	outcomes := make([]outcome, 2)
	tests := []*transaction{
		changed(server, other, changeRequest{ip: true, port: true}),
		changed(server, other, changeRequest{port: true}),
	}
	s.ask(ctx, tests, func(i int, o outcome) { outcomes[i] = o })
	if err := ctx.Err(); err != nil {
		return Unknown, failure(server, err)
	}
	let := make([]bool, 2)
	for i, o := range outcomes {
		var refused *ResponseError
		switch {
		case errors.As(o.err, &refused):
			return Unknown, failure(server, errors.Join(ErrUnsupported, o.err))
		case o.err == nil && sameAddr(o.from, server):
			return Unknown, failure(server, ErrUnsupported)
		}
		let[i] = o.err == nil
	}
	switch {
	case let[0]:
		return EndpointIndependent, nil
	case let[1]:
		return AddressDependent, nil
	}
	return AddressAndPortDependent, nil
}

// control asks for an answer from an address that this socket has sent to, which no filter holds back. Only
// when it comes, silence in the filtering tests means something.
func (s *spare) control(ctx context.Context, server, other netip.AddrPort) bool {
	answered := false
	test := changed(server, other, changeRequest{ip: true, port: true})
	s.ask(ctx, []*transaction{test}, func(_ int, o outcome) {
		answered = o.err == nil && sameAddr(o.from, other)
	})
	return answered
}
