package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// errPatience is the cause of a context that ended because Discover won't wait any longer.
var errPatience = errors.New("out of patience")

var errNoServer = errors.New("not an address with a port")

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
	var o outcome
	c.ask(ctx, []*transaction{{server: unmap(server)}}, func(_ int, got outcome) { o = got })
	return o.result, o.err
}

// outcome is how a transaction ended.
type outcome struct {
	result Result
	from   netip.AddrPort // where the answer came from
	err    error
}

// asking is a set of transactions. One goroutine runs all of them, so that requests leave in their order.
type asking struct {
	client       *Client
	transactions []*transaction
	answers      chan answer
	done         func(index int, o outcome)
	open         int // transactions that have not ended
}

// ask runs transactions and calls done for each in the order in which they end. It returns when all have ended.
func (c *Client) ask(ctx context.Context, transactions []*transaction, done func(index int, o outcome)) {
	a := &asking{
		client: c, transactions: transactions, answers: make(chan answer, len(transactions)), done: done, open: len(transactions),
	}
	for i, t := range transactions {
		t.index, t.answers = i, a.answers
	}
	now := time.Now()
	for _, t := range a.transactions {
		if err := c.begin(t, now); err != nil {
			a.end(t, outcome{err: failure(t.server, err)})
		}
	}
	a.run(ctx)
}

func (a *asking) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for a.open > 0 {
		select {
		case got := <-a.answers:
			a.take(time.Now(), got)
			continue
		default: // what has arrived comes before what is due
		}
		if ctx.Err() != nil {
			a.giveUp(time.Now(), context.Cause(ctx))
			return
		}
		now := time.Now()
		timer.Reset(a.sendDue(now).Sub(now))
		select {
		case got := <-a.answers:
			a.take(time.Now(), got)
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

// sendDue sends the requests that are due, and returns when the next one is.
func (a *asking) sendDue(now time.Time) (next time.Time) {
	for _, t := range a.transactions {
		if !t.ended && !t.due.After(now) {
			err := t.step(now)
			if err == nil {
				err = t.sendDone(now, a.client.send(t.request, t.server))
			}
			if err != nil {
				a.end(t, outcome{err: err})
			}
		}
		if !t.ended && (next.IsZero() || t.due.Before(next)) {
			next = t.due
		}
	}
	return next
}

func (a *asking) take(now time.Time, got answer) {
	result, err := got.to.result(now, got.r)
	a.end(got.to, outcome{result, got.source, err})
}

// giveUp ends what is left.
func (a *asking) giveUp(now time.Time, cause error) {
	for _, t := range a.transactions {
		if t.ended {
			continue
		}
		err := t.timeout(now)
		if !errors.Is(cause, errPatience) {
			err = failure(t.server, fmt.Errorf("no answer to %d requests so far: %w", t.requests, cause))
		}
		a.end(t, outcome{err: err})
	}
}

func (a *asking) end(t *transaction, o outcome) {
	t.ended = true
	a.open--
	a.client.forget(t)
	a.done(t.index, o)
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
