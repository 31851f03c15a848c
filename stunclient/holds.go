package stunclient

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/pion/stun/v2"
)

const (
	usedFor   = 2500 * time.Millisecond // Linux lets a mapping live longer whose traffic both ways went on for two seconds
	knockWait = 2 * time.Second         // for packets that somebody said to have sent
)

// Knock has a server send STUN requests (see [Request]) with a transaction ID to an address, from the address at which it answers.
// When it returns nil, the server has said that it does so within a second; otherwise it does not.
type Knock func(ctx context.Context, to netip.AddrPort, id [stun.TransactionIDSize]byte) error

// Holds reports whether the NAT keeps a mapping that both sides have used for a while, as those of links are, and that has
// then carried nothing for a time. It takes a spare socket, that time and 3 to 11 s. knock has the server send something; nil:
// the server answers to another port when asked (RESPONSE-PORT). It is [ErrUnsupported] when that does not work right before or
// right after the wait: then its failure tells nothing of the NAT. At most 30 small packets are sent, mostly 8.
func (p *Prober) Holds(ctx context.Context, server netip.AddrPort, wait time.Duration, knock Knock) (bool, error) {
	m := &lifetimeTest{server: unmap(server), knock: knock}
	var err error
	if m.idle, err = p.open(); err != nil {
		return false, err
	}
	defer m.idle.close()
	if knock == nil {
		if m.asking, err = p.open(); err != nil {
			return false, err
		}
		defer m.asking.close()
	}
	if _, err := m.idle.Binding(ctx, m.server); err != nil {
		return false, err
	}
	if err := m.pause(ctx, usedFor); err != nil {
		return false, err
	}
	if err := m.prove(ctx); err != nil {
		return false, err
	}
	alive, err := m.test(ctx, wait)
	if err == nil && !alive {
		err = m.prove(ctx)
	}
	return alive, err
}

// prove returns an error unless what the server sends comes while the mapping is there for certain.
func (m *lifetimeTest) prove(ctx context.Context) error {
	alive, err := m.test(ctx, 0)
	if err == nil && !alive {
		err = failure(m.server, ErrUnsupported)
	}
	return err
}

// knocked has the server send to an address outside, and reports whether that came to the idle socket.
func (m *lifetimeTest) knocked(ctx context.Context, to netip.AddrPort) (bool, error) {
	var id transactionID
	if _, err := io.ReadFull(m.idle.rand(), id[:]); err != nil {
		return false, failure(m.server, fmt.Errorf("no randomness for a transaction ID: %w", err))
	}
	arrived := make(chan struct{}, 1)
	m.idle.overhear(func(b []byte, from netip.AddrPort) {
		if got, ok := RequestID(b); ok && got == id && sameAddr(from, m.server) {
			select {
			case arrived <- struct{}{}:
			default:
			}
		}
	})
	defer m.idle.overhear(nil)
	if err := m.knock(ctx, to, id); err != nil {
		return false, failure(m.server, err)
	}
	timer := time.NewTimer(knockWait)
	defer timer.Stop()
	select {
	case <-arrived:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, m.ended(ctx)
	}
}
