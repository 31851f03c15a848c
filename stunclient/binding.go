package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Result is what one server told.
type Result struct {
	Server netip.AddrPort // who was asked
	Mapped netip.AddrPort // where the request came from, as the server saw it
	Other  netip.AddrPort // the server's other address for behaviour discovery (RFC 5780 section 7.4), or the zero value
	Origin netip.AddrPort // where the server says that it answered from (RFC 5780 section 7.3), or the zero value

	// RTT is the time from the latest request to the answer. With more than one request it may be too short: the answer
	// may be to an earlier one.
	RTT      time.Duration
	Requests int // sent until the answer came, from 1
}

// Binding asks one server for the address that it sees. Without an answer it fails after 39.5 s with the default
// timing, or when ctx ends. Errors are [*ResponseError], [*TimeoutError] or wrap that of ctx.
func (c *Client) Binding(ctx context.Context, server netip.AddrPort) (Result, error) {
	server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
	if !server.Addr().IsValid() || server.Addr().IsUnspecified() || server.Port() == 0 {
		return Result{}, failure(server, errors.New("not an address with a port"))
	}
	x, err := c.exchange(ctx, server)
	switch {
	case err != nil:
		return Result{}, err
	case x.failed:
		return Result{}, &ResponseError{Server: server, Code: x.code, Reason: x.reason, Alternate: x.alternate}
	case len(x.unknown) > 0:
		// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.3: such a response fails the transaction.
		return Result{}, failure(server, fmt.Errorf("the answer needs attributes that are unknown here: %v (try another server)", x.unknown))
	}
	return Result{
		Server: server, Mapped: x.mapped, Other: x.other, Origin: x.origin,
		RTT: x.rtt, Requests: x.requests,
	}, nil
}
