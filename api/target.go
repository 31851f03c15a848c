package api

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/2xppg/xppg/kcptransport"
)

// A target is what Join takes: a ticket, a peer ID or a host and port.
type target struct {
	ticket Ticket // its Peer is zero when only an address is known
	host   string // a name still to be looked up
	port   uint16
	url    string // of a connection
}

// CheckTarget returns what is wrong with a target of [Playground.Join], so far
// as that shows without asking anybody.
func CheckTarget(s string) error {
	_, err := parseTarget(s)
	return err
}

func parseTarget(s string) (target, error) {
	s = strings.TrimSpace(s)
	if IsTicket(s) {
		t, err := ParseTicket(s)
		return target{ticket: t}, err
	}
	if id, err := kcptransport.ParsePeerID(s); err == nil {
		return target{ticket: Ticket{Contact: Contact{Peer: id}}}, nil
	}
	if strings.Contains(s, "://") {
		return target{url: s}, checkTargetURL(s)
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return target{}, fmt.Errorf("api: %q is no host:port, ticket, peer ID or URL (tcp, ws, wss)", s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return target{}, fmt.Errorf("api: %q is no port (1 to 65535)", portText)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return target{host: host, port: uint16(port)}, nil
}

// resolve looks the name up, if there is one.
func (t *target) resolve(ctx context.Context) error {
	if t.host == "" {
		return nil
	}
	if a, err := netip.ParseAddr(t.host); err == nil {
		t.ticket.Addrs = []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), t.port)}
		return nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.host)
	if err != nil {
		return fmt.Errorf("api: look up %s: %w", t.host, err)
	}
	for _, ip := range ips[:min(len(ips), maxTicketAddrs)] {
		t.ticket.Addrs = append(t.ticket.Addrs, netip.AddrPortFrom(ip.Unmap(), t.port))
	}
	return nil
}
