package stunclient

import (
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

// wait returns how long to wait for the answer to request number n, counted from 1.
func (s schedule) wait(n int) time.Duration {
	if n >= s.requests {
		return time.Duration(s.lastWait) * s.rto
	}
	return s.rto << (n - 1)
}

// transaction is a request that waits for its answer. The client's mutex guards nothing in it: Handle reads what begin
// set, and the rest belongs to the run loop that began it.
type transaction struct {
	id      transactionID
	server  netip.AddrPort // who is asked, and answers unless asked otherwise
	also    netip.AddrPort // another address from where the answer counts; the zero value without one
	answers chan<- answer  // has room for the one answer

	attributes []stun.Setter // of the request

	index    int // among those that run together
	schedule schedule
	request  []byte // the same for each retransmission

	start, sent, due time.Time // of the first and the latest request, and of what comes next
	requests         int       // sent so far
	refused          int       // sends that failed, in a row
	cause            error     // of the latest of them
	ended            bool
}

// answer is a response on its way from Handle to the run loop.
type answer struct {
	to     *transaction
	r      *response
	source netip.AddrPort
}

// buildRequest fills in the packet to send.
func (t *transaction) buildRequest() error {
	head := []stun.Setter{stun.BindingRequest, stun.NewTransactionIDSetter(t.id)}
	m, err := stun.Build(append(head, t.attributes...)...)
	if err == nil {
		t.request = m.Raw
	}
	return err
}

// expects reports whether an answer from an address counts.
func (t *transaction) expects(from netip.AddrPort) bool {
	return sameAddr(from, t.server) || t.also.IsValid() && sameAddr(from, t.also)
}

// step is called when the transaction is due. It counts a request, which the caller sends, or returns the error that ends
// the transaction.
func (t *transaction) step(now time.Time) error {
	if t.requests == t.schedule.requests {
		return t.timeout(now)
	}
	if t.requests == 0 {
		t.start = now
	}
	t.requests++
	t.sent, t.due = now, now.Add(t.schedule.wait(t.requests))
	return nil
}

// sendDone takes note of how sending a request went. The error it returns ends the transaction.
func (t *transaction) sendDone(now time.Time, err error) error {
	if t.cause = err; err == nil {
		t.refused = 0
		return nil
	}
	t.refused++
	if t.refused >= maxSendErrors || errors.Is(err, net.ErrClosed) {
		return t.timeout(now)
	}
	return nil
}

func (t *transaction) timeout(now time.Time) error {
	return &TimeoutError{Server: t.server, Requests: t.requests, Waited: now.Sub(t.start), Cause: t.cause}
}

// result is what a response means for the transaction.
func (t *transaction) result(now time.Time, r *response) (Result, error) {
	switch {
	case r.failed:
		return Result{}, &ResponseError{Server: t.server, Code: r.code, Reason: r.reason, Alternate: r.alternate}
	case len(r.unknown) > 0:
		// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.3: such a response fails the transaction.
		return Result{}, failure(t.server, fmt.Errorf("the answer needs attributes that are unknown here: %v (try another server)", r.unknown))
	}
	return Result{
		Server: t.server, Mapped: r.mapped, Other: r.other, Origin: r.origin,
		RTT: now.Sub(t.sent), Requests: t.requests,
	}, nil
}

// sameAddr compares the source of an answer with the address that was asked. The zone is not compared: it has several
// spellings.
func sameAddr(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}

func failure(server netip.AddrPort, err error) error {
	return fmt.Errorf("stunclient: binding with %v: %w", server, err)
}
