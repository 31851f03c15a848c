package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// untested returns the mapped addresses at which no third peer has reached us. They are candidates, because a try costs only a
// few packets and may be all there is, but nothing to tell everybody as ours.
func (pg *Playground) untested() (addrs []netip.AddrPort) {
	if pg.portmap == nil {
		return nil
	}
	for _, m := range pg.portmap.Mappings() {
		if m.State != portmap.Believed {
			addrs = append(addrs, m.External)
		}
	}
	return addrs
}

// toldAddrs returns the addresses that our record names.
func (pg *Playground) toldAddrs() (out []netip.AddrPort) {
	untested := pg.untested()
	for _, c := range pg.candidates() {
		if c.Type != kcptransport.PortMapped || !slices.Contains(untested, c.Addr) || pg.gather.Seen(c.Addr) {
			out = append(out, c.Addr)
		}
	}
	return out
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

const mappingTest = 10 * time.Second // for a third peer to test a mapping, before it is reported as untested

// portMappingStatus returns what is known of port mapping, once every protocol was asked and, if there are peers that might
// have it done, somebody tried the mapping.
func (pg *Playground) portMappingStatus(ctx context.Context) portmap.Status {
	if pg.portmap == nil {
		return portmap.Status{}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	testing := time.Now().Add(mappingTest)
	for {
		s := pg.portmap.Status()
		tested := len(pg.untested()) == 0 || len(pg.readyPeers()) == 0 || !time.Now().Before(testing)
		if s.Searched && tested || ctx.Err() != nil {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
