package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/relaymesh/carrier"
)

// Bounds of the URLs that peers tell.
const (
	maxURLs   = 4 // of one peer
	maxURLLen = 128
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

// checkTargetURL returns what is wrong with a URL that our user names.
func checkTargetURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || !isCarrierURL(s) || u.Hostname() == "" {
		return fmt.Errorf("api: %q is no URL of a peer (tcp://host:port, ws://host/path or wss://host/path)", s)
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); (err != nil || n == 0) && (port != "" || u.Scheme == "tcp") {
		return fmt.Errorf("api: %q: a port from 1 to 65535 is wanted", s)
	}
	return nil
}

// checkToldURL returns what is wrong with a URL that one peer tells another.
func checkToldURL(s string) error {
	if len(s) > maxURLLen || !isCarrierURL(s) {
		return fmt.Errorf("%.*q is no URL of a relay (tcp://host:port, ws:// or wss://, at most %d bytes)", maxURLLen, s, maxURLLen)
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" || u.Scheme == "tcp" && (u.Port() == "" || u.Path != "") {
		return errors.New("the URL of a relay has a host, a port if it is of tcp, perhaps a path, and nothing else")
	}
	return nil
}

// mayDial reports whether to connect to a URL that a stranger told. Nobody is to have us connect to what only we can reach: names
// count only where a certificate proves them, and private addresses only where packets for the peer go anyhow.
func mayDial(s string, at []netip.AddrPort) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return u.Scheme == "wss"
	}
	ip = ip.Unmap()
	return slices.ContainsFunc(at, func(a netip.AddrPort) bool { return a.Addr().Unmap() == ip }) || !punch.Private(ip) && !ip.IsUnspecified() && !ip.IsMulticast()
}

// urls returns where we take connections, for others who see us at addrs.
func (pg *Playground) urls(addrs []netip.AddrPort) []string {
	if len(pg.cfg.URLs) > 0 {
		return pg.cfg.URLs
	}
	var out []string
	tcp, ws := pg.StreamAddrs()
	for _, l := range []struct {
		scheme string
		addr   net.Addr
	}{{"tcp", tcp}, {"ws", ws}} {
		if l.addr == nil {
			continue
		}
		at, err := netip.ParseAddrPort(l.addr.String())
		if err != nil {
			continue
		}
		for _, ip := range listenIPs(at.Addr(), addrs) {
			out = append(out, l.scheme+"://"+netip.AddrPortFrom(ip, at.Port()).String())
		}
	}
	return out
}

// listenIPs returns the address of each family at which others reach a listener: a public one if there is one.
func listenIPs(bound netip.Addr, addrs []netip.AddrPort) (out []netip.Addr) {
	if !bound.IsUnspecified() {
		return []netip.Addr{bound.Unmap()}
	}
	for _, v6 := range []bool{false, true} {
		var best netip.Addr
		for _, a := range addrs {
			ip := a.Addr().Unmap()
			if ip.Is6() == v6 && !carrier.Is(a) && (!best.IsValid() || punch.Private(best) && !punch.Private(ip)) {
				best = ip
			}
		}
		if best.IsValid() && (!v6 || bound.Is6()) {
			out = append(out, best)
		}
	}
	return out
}

// joinURL joins who takes connections at a URL.
func (pg *Playground) joinURL(ctx context.Context, url string) (kcptransport.PeerID, error) {
	addr, err := pg.carrier.Dial(ctx, url)
	if err != nil {
		return kcptransport.PeerID{}, err
	}
	id, err := pg.reach(ctx, Ticket{Contact: Contact{Addrs: []netip.AddrPort{addr}}})
	if p, _ := pg.peer(id); err == nil && p != nil {
		pg.wg.Go(func() { pg.useCarrier(p.link, addr) })
	} else {
		pg.carrier.Hang(addr)
	}
	return id, err
}

// urlsOf returns where a peer that was reached at an address takes connections, as its record says and as far as we may connect there.
func (pg *Playground) urlsOf(id kcptransport.PeerID, at netip.AddrPort) []string {
	info := pg.recordOf(id)
	if info == nil {
		return nil
	}
	return mayDialOf(info.URLs, at)
}

func mayDialOf(urls []string, at ...netip.AddrPort) []string {
	return slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return !mayDial(u, at) })
}

// told returns how a peer can be reached as a record says, of which we know only that the peer wrote it.
func (i *peerInfo) told() Contact {
	c := i.Contact
	c.URLs = mayDialOf(c.URLs)
	return c
}
