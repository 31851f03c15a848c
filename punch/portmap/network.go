package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// Gateway is a router through which packets leave.
type Gateway struct {
	Addr  netip.Addr // the router; a link-local IPv6 address has its zone
	Local netip.Addr // ours, towards it
}

// Network is what a [Client] needs of the host. Its methods are called from several goroutines.
type Network interface {
	// Gateways lists the default routes, the best first.
	Gateways() ([]Gateway, error)

	// ListenPacket opens a UDP socket; port 0 means any. It must be able to send to multicast groups by the interface
	// that has the address.
	ListenPacket(ctx context.Context, local netip.AddrPort) (net.PacketConn, error)

	// DialContext opens a TCP connection to a gateway, as [net.Dialer.DialContext].
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// System returns this machine's network.
func System() Network { return system{} }

type system struct{}

func (system) Gateways() ([]Gateway, error) {
	routes, err := defaultRoutes()
	if err != nil {
		return nil, err
	}
	var out []Gateway
	for _, r := range routes {
		if g, ok := r.gateway(interfaceAddrs(r.device)); ok {
			out = append(out, g)
		}
	}
	return out, nil
}

func (system) ListenPacket(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
	var lc net.ListenConfig
	if !local.Addr().Is4() {
		return lc.ListenPacket(ctx, "udp6", local.String())
	}
	c, err := lc.ListenPacket(ctx, "udp4", local.String())
	if err != nil {
		return nil, err
	}
	if ifi := interfaceOf(local.Addr()); ifi != nil {
		_ = ipv4.NewPacketConn(c).SetMulticastInterface(ifi) // for the search of UPnP; the gateway is asked alone, too
	}
	return c, nil
}

func (system) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// interfaceOf returns the interface that has an address, or nil.
func interfaceOf(a netip.Addr) *net.Interface {
	all, _ := net.Interfaces()
	for i, ifi := range all {
		for _, p := range addrsOf(&ifi) {
			if p.Addr() == a {
				return &all[i]
			}
		}
	}
	return nil
}

// interfaceAddrs returns the addresses of the interface of a name, or of all when it is "".
func interfaceAddrs(name string) (out []netip.Prefix) {
	all, _ := net.Interfaces()
	for _, ifi := range all {
		if name == "" || ifi.Name == name {
			out = append(out, addrsOf(&ifi)...)
		}
	}
	return out
}

func addrsOf(ifi *net.Interface) (out []netip.Prefix) {
	addrs, _ := ifi.Addrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(n.IP)
			bits, _ := n.Mask.Size()
			out = append(out, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return out
}

var errNoGateway = errors.New("portmap: no gateway: this host has no default route with a router")
