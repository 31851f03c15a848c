package portmap

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hold keeps a mapping alive and looks whether it works, which state tells, until it is dead, which is the error, or ctx ends or the network
// changes, which is none.
func (k *keeper) hold(ctx context.Context, news <-chan struct{}, h *held, state *State) error {
	k.c.tell(k.family, h.mapping(*state, k.c.o.Seen()))
	renew := time.NewTimer(k.renewal(*h))
	defer renew.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	soon := checkSoon // while nobody could be asked: peers are still to come
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-news:
			return nil
		case <-renew.C:
			if err := k.renew(ctx, h, state); err != nil {
				return err
			}
			renew.Reset(k.renewal(*h))
			if *state == Made {
				look.Reset(0) // it may be another address
			}
		case <-look.C:
			if err := k.look(ctx, *h, state); err != nil && ctx.Err() == nil {
				return err
			}
			next := checkEvery
			if *state == Made {
				next, soon = soon, min(2*soon, checkEvery)
			}
			look.Reset(next)
		}
		k.c.tell(k.family, h.mapping(*state, k.c.o.Seen()))
	}
}

func (k *keeper) renewal(h held) time.Duration {
	if h.expires.IsZero() {
		return permanent
	}
	return renewAfter(time.Until(h.expires), k.c.fraction())
}

// renew prolongs the mapping. A router may give another address or port then, which nobody has verified; one that refuses
// ends it. One that is silent is asked again (RFC 6887 section 11.2.1).
func (k *keeper) renew(ctx context.Context, h *held, state *State) error {
	l, err := k.make(ctx, h.choice, h.lease)
	late := !h.expires.IsZero() && time.Until(h.expires) < leastRenew
	switch {
	case err == nil:
		if l.external != h.external {
			*state = Made
		}
		h.lease, h.expires = l, expiry(l)
	case ctx.Err() != nil || errors.Is(err, errSilent) && !late:
		err = nil
	default:
		err = fmt.Errorf("it was not renewed: %w", err)
	}
	return err
}

// look asks the router and a third peer whether the mapping is there. A router that does not answer says nothing.
func (k *keeper) look(ctx context.Context, h held, state *State) error {
	asking, cancel := context.WithTimeout(ctx, makeWithin)
	err := h.way.check(asking, k.c.o.Port, h.lease)
	cancel()
	if errors.Is(err, errLost) {
		return err
	}
	err = k.verify(ctx, h)
	if err != nil && !errors.Is(err, ErrNobody) && !k.pause(ctx, nil, verifyAgain) {
		err = k.verify(ctx, h)
	}
	switch {
	case err == nil:
		*state = Believed
	case errors.Is(err, ErrNobody):
		err = nil
	default:
		err = fmt.Errorf("nobody gets through: %w", err)
	}
	return err
}

func (k *keeper) verify(ctx context.Context, h held) error {
	ctx, cancel := context.WithTimeout(ctx, verifyWithin)
	defer cancel()
	return k.c.o.Verify(ctx, h.external)
}
