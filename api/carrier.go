package api

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/2xppg/xppg/relaymesh/carrier"
)

// openCarrier puts connections beside the socket: where UDP is blocked, packets travel to
// a relay by TCP or WebSocket.
func (pg *Playground) openCarrier() {
	if c, ok := pg.cfg.Conn.(*carrier.Conn); ok { // the caller has connections already
		pg.carrier = c
		return
	}
	pg.carrier = carrier.New(pg.cfg.Conn, carrier.Config{Dial: pg.cfg.DialTCP})
	pg.cfg.Conn = pg.carrier
}

// isCarrierURL reports whether a target is the URL of a connection: of tcp, ws or wss.
func isCarrierURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "tcp" || u.Scheme == "ws" || u.Scheme == "wss")
}

// connect makes the connection that a target asks for.
func (pg *Playground) connect(ctx context.Context, t *target) error {
	if t.url == "" {
		return nil
	}
	a, err := pg.carrier.Dial(ctx, t.url)
	t.ticket.Addrs = []netip.AddrPort{a}
	return err
}
