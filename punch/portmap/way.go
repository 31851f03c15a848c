package portmap

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Protocol is a way to ask a router for a mapping.
type Protocol uint8

// The protocols, the best last.
const (
	UPnP Protocol = iota + 1
	NATPMP
	PCP
)

// String returns the protocol's name.
func (p Protocol) String() string {
	switch p {
	case UPnP:
		return "UPnP"
	case NATPMP:
		return "NAT-PMP"
	case PCP:
		return "PCP"
	}
	return "none"
}

// way is one protocol at one gateway. Its methods are called one at a time, and they do not outlast ctx.
type way interface {
	// find asks whether the gateway speaks the protocol. It changes nothing there.
	find(ctx context.Context) error

	// make makes or renews the mapping of a port. had is what was there before, or zero.
	make(ctx context.Context, port uint16, had lease, lifetime time.Duration) (lease, error)

	// check asks whether the mapping may still be there. errLost means: certainly not.
	check(ctx context.Context, port uint16, l lease) error

	// remove removes it, also when it is not known whether it was made.
	remove(ctx context.Context, port uint16, l lease) error
}

// lease is what a router has granted.
type lease struct {
	external netip.AddrPort
	lifetime time.Duration // 0 means until it is removed
}

// errLost: the gateway has forgotten the mapping.
var errLost = errors.New("the router forgot the mapping, it has probably restarted")

// maxLifetime is the longest lifetime that we take a router at its word for.
const maxLifetime = 24 * time.Hour

// checked returns the lease if it is usable.
func (l lease) checked() (lease, error) {
	if err := checkExternal(l.external); err != nil {
		return lease{}, err
	}
	l.lifetime = min(l.lifetime, maxLifetime)
	return l, nil
}
