package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// ssdpGroup is where UPnP devices hear searches (UPnP Device Architecture 1.1, section 1.3.2).
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

// targets are the devices we search for. One of version 2 answers to a search for version 1 too, or should.
var targets = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// ssdpRequest is a search for a target, sent to a group or a device.
func ssdpRequest(to netip.AddrPort, target string) []byte {
	return fmt.Appendf(nil, "M-SEARCH * HTTP/1.1\r\nHOST: %v\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", to, target)
}

// describedAt searches for the gateway and returns where its description is. Both the group and the gateway itself are
// asked: devices before UDA 1.1 hear the group only, and networks without multicast let nothing else through.
func (l link) describedAt(ctx context.Context) (where *url.URL, err error) {
	self := netip.AddrPortFrom(l.gw.Addr, ssdpGroup.Port())
	err = l.talk(ctx, func(c net.PacketConn) error {
		var sent bool
		var last error
		for _, to := range []netip.AddrPort{ssdpGroup, self} {
			for _, target := range targets {
				_, err := c.WriteTo(ssdpRequest(to, target), net.UDPAddrFromAddrPort(to))
				sent = sent || err == nil
				last = err
			}
		}
		if sent {
			return nil
		}
		return last
	}, func(b []byte, from netip.AddrPort) (bool, error) {
		if from.Addr() != l.gw.Addr {
			return false, nil // another device of the home, or somebody who would like to be the router
		}
		var err error
		where, err = parseSSDP(b, l.gw.Addr)
		return err == nil, nil
	})
	return where, err
}

// parseSSDP reads an answer to a search, and returns the address of the description of the gateway that sent it.
func parseSSDP(b []byte, gateway netip.Addr) (*url.URL, error) {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, fmt.Errorf("no answer to a search: %w", err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK || !strings.Contains(r.Header.Get("St"), ":InternetGatewayDevice:") {
		return nil, errors.New("no answer of a router")
	}
	where, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	return where, checkPlace(where, gateway)
}

// checkPlace refuses an address of a description or of a service that is not at the gateway itself, or where a gateway of a
// home never is.
func checkPlace(u *url.URL, gateway netip.Addr) error {
	if !gateway.IsPrivate() && !gateway.IsLinkLocalUnicast() {
		return fmt.Errorf("%v is no address of a home router", gateway)
	}
	host, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || err != nil || host != gateway || u.User != nil {
		return fmt.Errorf("the router sends us to %.100q, which is not the router", u.Redacted())
	}
	return nil
}
