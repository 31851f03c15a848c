package portmap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	igdUDP        = "UDP"
	igdName       = "xppg"
	portTries     = 4    // external ports, when others have them
	firstFreePort = 1024 // of those chosen by chance
)

// igdWay is UPnP at one gateway.
type igdWay struct {
	link
	chance func() float64 // of [0, 1)

	services []igdService
	used     igdService // who made the mapping; nil: none
	pending  uint16     // an external port that was asked for without an answer
}

func (w *igdWay) find(ctx context.Context) error {
	where, err := w.describedAt(ctx)
	if err != nil {
		return err
	}
	c := w.httpClient()
	root, err := describe(ctx, &c, where)
	if err != nil {
		return err
	}
	w.services, err = servicesOf(root, where, w.gw.Addr, c)
	return err
}

func (w *igdWay) make(ctx context.Context, port uint16, had lease, lifetime time.Duration) (lease, error) {
	if w.used != nil && had.external.IsValid() {
		return w.makeBy(ctx, w.used, port, had, lifetime)
	}
	var all error
	for _, s := range w.services {
		l, err := w.makeBy(ctx, s, port, had, lifetime)
		if err == nil {
			w.used = s
			return l, nil
		}
		all = errors.Join(all, err)
	}
	return lease{}, all
}

func (w *igdWay) makeBy(ctx context.Context, s igdService, port uint16, had lease, lifetime time.Duration) (lease, error) {
	// Some routers say yes when they are not connected, so this is asked first.
	text, err := s.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return lease{}, refusal(ctx, err)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() {
		return lease{}, errors.New("the router has no address on the internet now")
	}
	if _, err := (lease{external: netip.AddrPortFrom(addr, port)}).checked(); err != nil {
		return lease{}, err
	}
	external := cmp.Or(had.external.Port(), port)
	seconds := uint32(lifetime / time.Second)
	for try := 1; ; try++ {
		w.used, w.pending = s, external
		got, err := w.add(ctx, s, external, port, seconds, !had.external.IsValid())
		var code igdCode
		if errors.As(err, &code) {
			w.pending = 0
		}
		switch {
		case err == nil:
			w.pending = 0
			return lease{netip.AddrPortFrom(addr, got), time.Duration(seconds) * time.Second}.checked()
		case try == portTries:
			return lease{}, err
		case seconds > 0 && (code == igdOnlyPermanent || code == igdInvalidArgs):
			seconds = 0 // old routers know only mappings that stay; those of IGD:1 say so, or that an argument is wrong
		case code == igdConflict:
			external = firstFreePort + uint16(w.chance()*(1<<16-firstFreePort))
		case code == igdSamePorts && external != port:
			external = port
		default:
			return lease{}, err
		}
	}
}

// add asks for an external port, or any if the router can choose and choose is set, and returns the port.
func (w *igdWay) add(ctx context.Context, s igdService, external, port uint16, seconds uint32, choose bool) (uint16, error) {
	us := w.gw.Local.String()
	if v2, ok := s.(igdAny); ok && choose {
		got, err := v2.AddAnyPortMappingCtx(ctx, "", external, igdUDP, port, us, true, igdName, seconds)
		if err = refusal(ctx, err); err == nil && got == 0 {
			err = fmt.Errorf("the router gave port 0")
		}
		var code igdCode
		if !errors.As(err, &code) || code != 401 && code != igdNotImplemented {
			return got, err
		}
	}
	return external, refusal(ctx, s.AddPortMappingCtx(ctx, "", external, igdUDP, port, us, true, igdName, seconds))
}

// check asks for the mapping and for the router's address. There is no epoch: a router that has restarted lacks the mapping.
// It may also have its service elsewhere then, at another port.
func (w *igdWay) check(ctx context.Context, port uint16, l lease) error {
	if w.used == nil {
		return nil
	}
	err := w.checkBy(ctx, w.used, port, l)
	var code igdCode
	if err == nil || errors.Is(err, errLost) || errors.As(err, &code) || w.find(ctx) != nil {
		return err
	}
	kind := w.used.GetServiceClient().Service.ServiceType
	for _, s := range w.services {
		if s.GetServiceClient().Service.ServiceType == kind {
			w.used = s
			return w.checkBy(ctx, s, port, l)
		}
	}
	return fmt.Errorf("%w: it has no %.100q any more", errLost, kind)
}

func (w *igdWay) checkBy(ctx context.Context, s igdService, port uint16, l lease) error {
	to, client, _, _, _, err := s.GetSpecificPortMappingEntryCtx(ctx, "", l.external.Port(), igdUDP)
	err = refusal(ctx, err)
	if errors.Is(err, igdNoSuchEntry) {
		return errLost
	}
	if err != nil {
		return err
	}
	if to != port || client != w.gw.Local.String() {
		return fmt.Errorf("%w: the port leads to somebody else", errLost)
	}
	if !l.external.Addr().IsValid() {
		return nil
	}
	addr, err := s.GetExternalIPAddressCtx(ctx)
	if err == nil && addr != l.external.Addr().String() {
		return fmt.Errorf("%w: it has another address now", errLost)
	}
	return refusal(ctx, err)
}

func (w *igdWay) remove(ctx context.Context, port uint16, l lease) error {
	external := l.external.Port()
	if external == 0 && w.pending != 0 && w.check(ctx, port, lease{external: netip.AddrPortFrom(netip.Addr{}, w.pending)}) == nil {
		external = w.pending // it was made without an answer, and is ours
	}
	if w.used == nil || external == 0 {
		return nil
	}
	return refusal(ctx, w.used.DeletePortMappingCtx(ctx, "", external, igdUDP))
}
