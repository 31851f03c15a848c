package stunclient

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"
)

const (
	probeRequests = 3 // sent for one test: that all are lost is rarer than that a NAT is as strict as it then seems
	probeLastWait = 2 // RTOs
	maxReadErrors = 64
)

// Prober finds out what the NAT does, from spare sockets: their tests send to and get packets from addresses that the
// shared socket should not touch, and let mappings die. Its fields are set before its first use; its methods may be
// called from any goroutine.
//
// A server that lies can make it send at most 3 requests of 20 to 28 bytes to each of two addresses of the
// server's choice, for each call. They are of the same scope as the server's own: one on the internet cannot name a
// private or a loopback address.
type Prober struct {
	// Open opens a spare socket on any port, at the same interface as the shared one. Required.
	Open func() (Socket, error)

	// RTO is the time to the first retransmission. Default 500 ms, at most a minute.
	RTO time.Duration

	// Rand is where transaction IDs come from. Default crypto/rand. It may be read from several goroutines.
	Rand io.Reader
}

// ErrUnsupported means that a server does not do what a test takes: it has no second address, or ignores or refuses
// the attributes of RFC 5780.
var ErrUnsupported = errors.New("the server does not take part in behaviour discovery (use one with two addresses, RFC 5780)")

// Behaviour is what one server told of the NAT by RFC 5780. It describes the moment of asking.
type Behaviour struct {
	Server, Other netip.AddrPort // the server's addresses, which differ in IP address and port
	Local         uint16         // the port of the socket that Sightings are of
	Sightings     []Result       // the answers to mapping tests I to III, in this order; the lost ones are missing
	Mapping       Dependence
	Filtering     Dependence

	// Verified says that the server was seen to send from its other address when asked, so that its silence in
	// the filtering tests was the NAT's work. It can't be seen through a mapping that depends on the address.
	Verified bool
}

// Behaviour runs the tests of RFC 5780 sections 4.3 and 4.4 with one server. They take four round trips or, when the
// NAT filters, about 2.5 s more with the default timing, and two spare sockets: mappings and filters are tested
// apart, because the mapping tests open the filter for the server's other address. What was learnt before an error,
// which may be [ErrUnsupported], is returned with it.
func (p *Prober) Behaviour(ctx context.Context, server netip.AddrPort) (Behaviour, error) {
	server = unmap(server)
	mapper, err := p.open()
	if err != nil {
		return Behaviour{}, err
	}
	defer mapper.close()
	first, err := mapper.Binding(ctx, server)
	if err != nil {
		return Behaviour{}, err
	}
	b := Behaviour{Server: server, Local: mapper.port, Sightings: []Result{first}}
	if !credible(server, first.Other) {
		return b, failure(server, ErrUnsupported)
	}
	b.Other = first.Other
	filter, err := p.open()
	if err != nil {
		return b, err
	}
	defer filter.close()

	// Filters come first: nothing of this host has been sent to the other address then.
	b.Filtering, err = filter.filteringTests(ctx, server, b.Other)
	b.Sightings = append(b.Sightings, mapper.mappingTests(ctx, server, b.Other)...)
	b.Mapping = family(b.Sightings, 0).Mapping
	if err == nil {
		b.Verified = b.Filtering == EndpointIndependent || b.Mapping == EndpointIndependent && mapper.control(ctx, server, b.Other)
	}
	return b, err
}

// credible reports whether an address may be the second one of a server, and asking there harms nobody else much.
func credible(server, other netip.AddrPort) bool {
	a, b := server.Addr(), other.Addr()
	return other.IsValid() && other.Port() != 0 && other.Port() != server.Port() && a != b && a.Is4() == b.Is4() &&
		b != broadcast && scope(a) == scope(b)
}

var (
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	shared    = netip.MustParsePrefix("100.64.0.0/10") // between customers and their carrier's NAT, RFC 6598
)

// scope says how far an address reaches.
func scope(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 0
	case a.IsLinkLocalUnicast():
		return 1
	case a.IsPrivate() || shared.Contains(a):
		return 2
	}
	return 3
}
