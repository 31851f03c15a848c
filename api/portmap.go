package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/punch/portmap"
)

// mapPort keeps our port mapped at the routers of the network that Config.PortMapping names. It returns nil when there is none.
func (pg *Playground) mapPort() *portmap.Client {
	network, local := pg.cfg.PortMapping, pg.LocalAddr()
	if network == nil || pg.cfg.NoPortMapping || local.Addr().IsLoopback() {
		return nil
	}
	c := portmap.New(portmap.Options{
		Port: local.Port(), Network: network, Rand: pg.cfg.Rand, Verify: pg.verifyMapping, Seen: pg.seenOutside,
		OnChange: func(portmap.Mapping) { wake(pg.mapWake) },
	})
	pg.wg.Go(func() { c.Run(pg.ctx) })
	pg.wg.Go(func() { pg.tellMappings(c) })
	return c
}

// tellMappings keeps the candidates up to date with the mappings.
func (pg *Playground) tellMappings(c *portmap.Client) {
	for {
		select {
		case <-pg.ctx.Done():
			return
		case <-pg.mapWake:
		}
		var addrs []netip.AddrPort
		for _, m := range c.Mappings() {
			if m.Useful() {
				addrs = append(addrs, m.External)
			}
		}
		pg.gather.Mapped(addrs)
		pg.wakeMesh() // our record tells of it
	}
}

// verifyMapping lets a third peer knock at a mapped address.
func (pg *Playground) verifyMapping(ctx context.Context, external netip.AddrPort) error {
	err := pg.reachableAt(ctx, external)
	if err == nil || errors.Is(err, errNothingCame) {
		return err
	}
	return fmt.Errorf("%w: %w", portmap.ErrNobody, err)
}

// seenOutside returns the addresses at which others on the internet see us.
func (pg *Playground) seenOutside() (out []netip.Addr) {
	for _, c := range pg.candidates() {
		if c.Type == kcptransport.ServerReflexive && !punch.Private(c.Addr.Addr()) {
			out = append(out, c.Addr.Addr())
		}
	}
	return out
}

// portMappingStatus returns what is known of port mapping, once every protocol was asked.
func (pg *Playground) portMappingStatus(ctx context.Context) portmap.Status {
	if pg.portmap == nil {
		return portmap.Status{}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s := pg.portmap.Status()
		if s.Searched || ctx.Err() != nil {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
