package stunclient

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// With the defaults, requests leave at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms, and the transaction fails at
// 39500 ms.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.2.1
func TestRetransmission(t *testing.T) {
	for _, tt := range []struct {
		name     string
		rto      time.Duration
		requests int
		lastWait int
		want     []time.Duration
		fails    time.Duration
	}{
		{"default", 0, 0, 0, []time.Duration{0, 500 * ms, 1500 * ms, 3500 * ms, 7500 * ms, 15500 * ms, 31500 * ms}, 39500 * ms},
		{"other", 100 * ms, 3, 2, []time.Duration{0, 100 * ms, 300 * ms}, 500 * ms},
		{"once", 100 * ms, 1, 1, []time.Duration{0}, 100 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				n.RTO, n.Requests, n.LastWait = tt.rto, tt.requests, tt.lastWait
				_, err := n.Binding(t.Context(), serv1)
				var timeout *TimeoutError
				if !errors.As(err, &timeout) || timeout.Requests != len(tt.want) || timeout.Waited != tt.fails {
					t.Errorf("failed with %v, want a timeout after %v", err, tt.fails)
				}
				var ne net.Error
				if !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("%v is no timeout to net.Error", err)
				}
				if took := time.Since(n.start); took != tt.fails {
					t.Errorf("failed after %v, want %v", took, tt.fails)
				}
				if got := n.times(serv1); !slices.Equal(got, tt.want) {
					t.Errorf("requests left at %v, want %v", got, tt.want)
				}
				for _, s := range n.sent {
					if s.bytes != n.sent[0].bytes {
						t.Error("a retransmission differs from the first request")
					}
				}
			})
		})
	}
}

func TestScheduleIsBounded(t *testing.T) {
	c := &Client{RTO: time.Hour, Requests: 1000}
	s := c.schedule()
	var total time.Duration
	for i := 1; i <= s.requests; i++ {
		d := s.wait(i)
		if d <= 0 {
			t.Fatalf("the wait after request %d is %v", i, d)
		}
		total += d
	}
	if total > 60*24*time.Hour {
		t.Errorf("a transaction may take %v", total)
	}
}

func TestAnswerToRetransmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		n.serve(serv1, mapped, 30*ms)
		n.fail = []error{errors.New("no buffer space"), nil}
		r, err := n.Binding(t.Context(), serv1)
		if want := (Result{Server: serv1, Mapped: mapped, RTT: 30 * ms, Requests: 2}); err != nil || r != want {
			t.Errorf("got %+v, %v; want %+v", r, err, want)
		}
		if took := time.Since(n.start); took != 530*ms {
			t.Errorf("took %v", took)
		}
	})
}

func TestContextEndsBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		ctx, cancel := context.WithTimeout(t.Context(), 700*ms)
		defer cancel()
		if _, err := n.Binding(ctx, serv1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("failed with %v", err)
		}
		if len(n.pending) != 0 {
			t.Error("the transaction is still there")
		}
	})
}

func TestSendErrors(t *testing.T) {
	noRoute := errors.New("network is unreachable")
	for _, tt := range []struct {
		name string
		fail []error
		want error
		took time.Duration
	}{
		{"closed socket", []error{net.ErrClosed}, net.ErrClosed, 0},
		{"no route", []error{noRoute, noRoute}, noRoute, 500 * ms},
		{"now and then", []error{noRoute, nil, noRoute, nil}, nil, 1500*ms + 40*ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				n.fail = tt.fail
				if tt.want == nil {
					requests := 0
					n.servers[serv1] = func(request []byte) []packet {
						if requests++; requests == 1 {
							return nil
						}
						return []packet{{Respond(request, mapped), serv1, 40 * ms}}
					}
					tt.took = 3500*ms + 40*ms // the second request that gets through is the fourth
				}
				_, err := n.Binding(t.Context(), serv1)
				if !errors.Is(err, tt.want) || time.Since(n.start) != tt.took {
					t.Errorf("ended with %v after %v, want %v after %v", err, time.Since(n.start), tt.want, tt.took)
				}
			})
		})
	}
}

func TestManyTransactionsOnOneSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const asked = 200
		n := newInternet()
		errs := make(chan error, asked)
		for i := range asked {
			at, as := serv1, mapped
			at = withPort(at, uint16(1000+i%50)) // several to one server at once, too
			as = withPort(as, at.Port()+1)
			n.serve(at, as, time.Duration(asked-i)*ms)
		}
		for i := range asked {
			go func() {
				at := withPort(serv1, uint16(1000+i%50))
				r, err := n.Binding(t.Context(), at)
				if err == nil && (r.Server != at || r.Mapped.Port() != at.Port()+1) {
					err = errors.New("got the answer of another")
				}
				errs <- err
			}()
		}
		for range asked {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if s := n.Stats(); s.Transactions != asked || s.Answers != asked || len(n.pending) != 0 {
			t.Errorf("%+v, %d pending", s, len(n.pending))
		}
	})
}

func TestTransactionsAreBounded(t *testing.T) {
	c := &Client{}
	for range maxPending {
		if err := c.register(new(transaction)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.register(new(transaction)); !errors.Is(err, errTooMany) {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Binding(t.Context(), serv1); !errors.Is(err, errTooMany) {
		t.Errorf("one more Binding: %v", err)
	}
	for _, p := range c.pending {
		c.forget(p)
	}
	if len(c.pending) != 0 {
		t.Errorf("%d transactions are left", len(c.pending))
	}
}

func TestBadRandomness(t *testing.T) {
	c := &Client{Rand: zeroes{}}
	if err := c.register(new(transaction)); err != nil {
		t.Fatal(err)
	}
	if err := c.register(new(transaction)); !errors.Is(err, errRepeated) {
		t.Errorf("the same ID again: %v", err)
	}
	c = &Client{Rand: failing{}}
	if _, err := c.Binding(t.Context(), serv1); !errors.Is(err, errNoEntropy) {
		t.Errorf("Binding without randomness: %v", err)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type failing struct{}

var errNoEntropy = errors.New("no entropy")

func (failing) Read([]byte) (int, error) { return 0, errNoEntropy }
