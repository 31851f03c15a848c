package portmap

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"
)

// pmpWay is NAT-PMP at one gateway.
type pmpWay struct {
	link
	epoch epoch
}

// address asks for the gateway's public address, and follows its clock.
func (w *pmpWay) address(ctx context.Context) (netip.Addr, error) {
	var r pmpReply
	err := w.ask(ctx, pmpAddressRequest(), func(b []byte) (bool, error) {
		var err error
		r, err = parsePMP(b, pmpAddress)
		return !errors.Is(err, errNotPMP), err
	})
	if err == nil && w.epoch.pmp(r.epoch, time.Now()) {
		err = errLost
	}
	return r.addr, err
}

func (w *pmpWay) find(ctx context.Context) error {
	_, err := w.address(ctx)
	if errors.Is(err, errLost) {
		return nil // there was nothing to lose
	}
	return err
}

func (w *pmpWay) make(ctx context.Context, port uint16, had lease, lifetime time.Duration) (lease, error) {
	r, err := w.mapPort(ctx, port, cmp.Or(had.external.Port(), port), lifetime)
	if err != nil {
		return lease{}, err
	}
	if r.lifetime == 0 {
		return lease{}, errors.New("the router gave a mapping that lives for no time")
	}
	w.epoch.pmp(r.epoch, time.Now()) // whatever was lost before, this was made after it
	addr, err := w.address(ctx)
	if err != nil {
		return lease{}, err
	}
	return lease{netip.AddrPortFrom(addr, r.public), r.lifetime}.checked()
}

// mapPort asks for a public port for a time, or no longer when that is 0.
func (w *pmpWay) mapPort(ctx context.Context, private, public uint16, lifetime time.Duration) (pmpReply, error) {
	var r pmpReply
	err := w.ask(ctx, pmpMapRequest(private, public, uint32(lifetime/time.Second)), func(b []byte) (bool, error) {
		var err error
		r, err = parsePMP(b, pmpMapUDP)
		return !errors.Is(err, errNotPMP) && (err != nil || r.private == private), err
	})
	return r, err
}

func (w *pmpWay) check(ctx context.Context, _ uint16, l lease) error {
	addr, err := w.address(ctx)
	if err == nil && addr != l.external.Addr() {
		return errors.Join(errLost, errors.New("the router has another address now"))
	}
	return err
}

func (w *pmpWay) remove(ctx context.Context, port uint16, _ lease) error {
	_, err := w.mapPort(ctx, port, 0, 0)
	return err
}
