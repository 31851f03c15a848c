package portmap

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// pcpWay is PCP at one gateway.
type pcpWay struct {
	link
	nonce pcpNonce // whoever knows it may change the mapping
	epoch epoch
}

// find asks with ANNOUNCE. A server that does not know it is there nevertheless.
func (w *pcpWay) find(ctx context.Context) error {
	err := w.announce(ctx)
	if errors.Is(err, errLost) || errors.Is(err, pcpCode(pcpUnsuppOpcode)) {
		return nil
	}
	return err
}

func (w *pcpWay) announce(ctx context.Context) error {
	r, err := w.exchange(ctx, pcpAnnounceRequest(w.gw.Local), pcpAnnounce, pcpWant{})
	if answered(err) && w.epoch.pcp(r.epoch, time.Now()) {
		return errLost
	}
	return err
}

// answered reports whether a PCP server said something, were it a refusal; then the epoch is known.
func answered(err error) bool {
	var code pcpCode
	return err == nil || errors.As(err, &code) && code != pcpUnsuppVersion
}

func (w *pcpWay) exchange(ctx context.Context, request []byte, opcode byte, want pcpWant) (r pcpReply, err error) {
	err = w.ask(ctx, request, func(b []byte) (bool, error) {
		var err error
		r, err = parsePCP(b, opcode, want)
		return !errors.Is(err, errNotPCP), err
	})
	return r, err
}

func (w *pcpWay) make(ctx context.Context, port uint16, had lease, lifetime time.Duration) (lease, error) {
	want := pcpWant{us: w.gw.Local, nonce: w.nonce, port: port, suggest: had.external, lifetime: uint32(lifetime / time.Second)}
	if want.suggest.Port() == 0 {
		want.suggest = netip.AddrPortFrom(netip.Addr{}, port)
	}
	r, err := w.exchange(ctx, pcpMapRequest(want), pcpMap, want)
	if err != nil {
		return lease{}, err
	}
	if r.lifetime == 0 {
		return lease{}, errors.New("the router gave a mapping that lives for no time")
	}
	w.epoch.pcp(r.epoch, time.Now()) // whatever was lost before, this was made after it
	return lease{r.external, r.lifetime}.checked()
}

// check tells whether the router has restarted. A router that refuses to announce itself tells by its clock, too.
func (w *pcpWay) check(ctx context.Context, _ uint16, _ lease) error {
	err := w.announce(ctx)
	if errors.Is(err, pcpCode(pcpUnsuppOpcode)) {
		return nil
	}
	return err
}

func (w *pcpWay) remove(ctx context.Context, port uint16, _ lease) error {
	want := pcpWant{us: w.gw.Local, nonce: w.nonce, port: port}
	_, err := w.exchange(ctx, pcpMapRequest(want), pcpMap, want)
	return err
}
