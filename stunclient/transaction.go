package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v2"
)

const (
	defaultRTO      = 500 * time.Millisecond
	defaultRequests = 7
	defaultLastWait = 16
	maxRTO          = time.Minute
	maxRequests     = 16

	// maxSendErrors in a row end a transaction: there is no way to that address from this socket.
	maxSendErrors = 2
)

// errPatience is the cause of a context that ended because Discover won't wait any longer.
var errPatience = errors.New("out of patience")

// transaction is a request that waits for its answer.
type transaction struct {
	id     transactionID
	from   func(netip.AddrPort) bool // whose answer counts
	answer chan *response            // gets at most one
}

// request returns the packet to send. It is the same for each retransmission.
func (t *transaction) request() ([]byte, error) {
	m, err := stun.Build(stun.BindingRequest, stun.NewTransactionIDSetter(t.id))
	if err != nil {
		return nil, err
	}
	return m.Raw, nil
}

// schedule is the timing of a transaction's requests: the first is repeated after an RTO, and the pause doubles each time
// until Rc of them were sent. Rm times the RTO after the last one, the transaction has failed.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.2.1
type schedule struct {
	rto      time.Duration
	requests int
	lastWait int
}

func (c *Client) schedule() schedule {
	s := schedule{defaultRTO, defaultRequests, defaultLastWait}
	if c.RTO > 0 {
		s.rto = min(c.RTO, maxRTO)
	}
	if c.Requests > 0 {
		s.requests = min(c.Requests, maxRequests)
	}
	if c.LastWait > 0 {
		s.lastWait = c.LastWait
	}
	return s
}

// wait returns how long to wait for the answer to request number n, counted from 1, and whether it is the last one.
func (s schedule) wait(n int) (d time.Duration, last bool) {
	if n >= s.requests {
		return time.Duration(s.lastWait) * s.rto, true
	}
	return s.rto << (n - 1), false
}

// exchanged is an answer and how it was obtained.
type exchanged struct {
	*response
	rtt      time.Duration
	requests int
}

// exchange runs one transaction with a server.
func (c *Client) exchange(ctx context.Context, server netip.AddrPort) (exchanged, error) {
	t, err := c.begin(func(from netip.AddrPort) bool { return sameAddr(from, server) })
	if err != nil {
		return exchanged{}, failure(server, err)
	}
	defer c.end(t)
	request, err := t.request()
	if err != nil {
		return exchanged{}, failure(server, err)
	}
	schedule := c.schedule()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	start, refused := time.Now(), 0
	for n := 1; ; n++ {
		sent := time.Now()
		sendErr := c.send(request, server)
		refused++
		if sendErr == nil {
			refused = 0
		}
		timeout := &TimeoutError{Server: server, Requests: n, Cause: sendErr}
		if errors.Is(sendErr, net.ErrClosed) || refused >= maxSendErrors {
			return exchanged{}, timeout
		}
		wait, last := schedule.wait(n)
		timer.Reset(wait)
		select {
		case r := <-t.answer:
			return exchanged{response: r, rtt: time.Since(sent), requests: n}, nil
		case <-ctx.Done():
			if timeout.Waited = time.Since(start); errors.Is(context.Cause(ctx), errPatience) {
				return exchanged{}, timeout
			}
			return exchanged{}, failure(server, fmt.Errorf("no answer to %d requests so far: %w", n, context.Cause(ctx)))
		case <-timer.C:
			if timeout.Waited = time.Since(start); last {
				return exchanged{}, timeout
			}
		}
	}
}

// sameAddr compares the source of an answer with the address that was asked. The zone is not compared: it has several
// spellings.
func sameAddr(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}

func failure(server netip.AddrPort, err error) error {
	return fmt.Errorf("stunclient: binding with %v: %w", server, err)
}
