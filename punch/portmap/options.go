package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Options say what is to be mapped, and with what. The zero value of a field is its default.
type Options struct {
	// Port is our UDP port, 1 to 65535. Required.
	Port uint16

	// Network is how gateways are found and reached. Default [System].
	Network Network

	// Verify lets somebody else knock at the address and returns nil when that was heard; ctx ends after 5 s. Its packets must
	// come from an address to which our socket has sent nothing, or the NAT lets them in without any mapping. It
	// returns [ErrNobody] when nobody can be asked. Default: nobody can. Calls for IPv4 and IPv6 may overlap.
	Verify func(ctx context.Context, external netip.AddrPort) error

	// Seen lists the addresses at which the internet sees us, from STUN. It tells a second NAT. Default: unknown.
	Seen func() []netip.Addr

	// OnChange is called with every mapping that changed, one call at a time. It must not block.
	OnChange func(Mapping)

	// Lifetime is asked for, 10 s to 24 h; a router may give another one. Default 2 h (RFC 6886 section 3.3).
	Lifetime time.Duration

	// Rand is the source of nonces, ports and spread. Default crypto/rand.
	Rand io.Reader
}

// ErrNobody is returned by [Options.Verify] when nobody can be asked to knock.
var ErrNobody = errors.New("portmap: nobody there to verify the mapping")

const defaultLifetime = 2 * time.Hour

func (o Options) withDefaults() Options {
	if o.Network == nil {
		o.Network = System()
	}
	if o.Verify == nil {
		o.Verify = func(context.Context, netip.AddrPort) error { return ErrNobody }
	}
	if o.Seen == nil {
		o.Seen = func() []netip.Addr { return nil }
	}
	if o.OnChange == nil {
		o.OnChange = func(Mapping) {}
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	o.Lifetime = min(max(o.Lifetime, 10*time.Second), maxLifetime)
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return o
}
