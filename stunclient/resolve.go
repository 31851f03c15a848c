package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultPort is the port of STUN over UDP (RFC 8489 section 8).
	DefaultPort = 3478

	lookupTimeout = 5 * time.Second
	maxHosts      = 32
	maxPerFamily  = 2 // addresses of one host and family
	maxHostName   = 253
)

// Resolver looks up the addresses of a name. [*net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ResolveServers turns names of STUN servers into addresses: "host", "host:port", the same with IP addresses, and the
// "stun:host:port" of RFC 7064. A name gives at most two addresses of each family, IPv4 first. Names are looked up at
// once, each for at most 5 s, by resolver, or by that of the system if it is nil.
//
// The error joins what went wrong. The addresses of the other servers are returned all the same.
func ResolveServers(ctx context.Context, resolver Resolver, hosts []string) ([]netip.AddrPort, error) {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if len(hosts) > maxHosts {
		return nil, fmt.Errorf("stunclient: resolve %d servers: more than %d (name fewer)", len(hosts), maxHosts)
	}
	found := make([][]netip.AddrPort, len(hosts))
	errs := make([]error, len(hosts))
	var lookups sync.WaitGroup
	for i, host := range hosts {
		lookups.Go(func() {
			if found[i], errs[i] = resolve(ctx, resolver, host); errs[i] != nil {
				errs[i] = fmt.Errorf("stunclient: resolve server %q: %w", host, errs[i])
			}
		})
	}
	lookups.Wait()
	var all []netip.AddrPort
	for _, f := range found {
		all = append(all, f...)
	}
	err := errors.Join(errs...)
	if failed := (*net.DNSError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%w (are the names right, and does name resolution work here? IP addresses need none)", err)
	}
	return distinct(all), err
}

// CheckServer returns what is wrong with a server's name, so far as that shows without looking it up.
func CheckServer(server string) error {
	if _, _, err := splitServer(server); err != nil {
		return fmt.Errorf("stunclient: server %q: %w", server, err)
	}
	return nil
}

func resolve(ctx context.Context, resolver Resolver, server string) ([]netip.AddrPort, error) {
	host, port, err := splitServer(server)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs := pick(ips, port)
	if len(addrs) == 0 {
		return nil, errors.New("the name has no usable address (use another server)")
	}
	return addrs, nil
}

// splitServer takes a server's name apart.
func splitServer(server string) (host string, port uint16, err error) {
	s := strings.TrimPrefix(server, "stun:")
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		s = strings.TrimSuffix(inner, "]")
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), DefaultPort, nil
	}
	host, port = s, DefaultPort
	if strings.Contains(s, ":") && !strings.Contains(s, "/") {
		var text string
		if host, text, err = net.SplitHostPort(s); err != nil {
			return "", 0, errors.New("not HOST:PORT (an IPv6 address goes in brackets)")
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("port %q is not a number from 1 to 65535", text)
		}
		port = uint16(n)
	}
	if host == "" || len(host) > maxHostName || strings.ContainsAny(host, " /\\@?#[]") {
		return "", 0, errors.New("not HOST:PORT (as in stun.example.org:3478)")
	}
	return host, port, nil
}

// pick keeps the first usable addresses of each family.
func pick(ips []netip.Addr, port uint16) (addrs []netip.AddrPort) {
	var v4, v6 []netip.AddrPort
	for _, ip := range ips {
		ip = ip.Unmap()
		addr := netip.AddrPortFrom(ip, port)
		switch {
		case !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast():
		case ip.Is4() && len(v4) < maxPerFamily:
			v4 = append(v4, addr)
		case ip.Is6() && len(v6) < maxPerFamily:
			v6 = append(v6, addr)
		}
	}
	return append(v4, v6...)
}
