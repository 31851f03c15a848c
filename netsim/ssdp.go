package netsim

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
)

const gatewayUUID = "uuid:6e657473-696d-4000-8000-000000000001"

// answerSearch answers a search for devices (UPnP Device Architecture 1.1, section
// 1.3), which has the form of a request of HTTP.
func (g *gateway) answerSearch(_ netip.AddrPort, b []byte) []byte {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil || r.Method != "M-SEARCH" || r.Header.Get("Man") != `"ssdp:discover"` {
		return nil
	}
	what := r.Header.Get("St")
	if what == "ssdp:all" {
		what = "upnp:rootdevice"
	}
	if what != "upnp:rootdevice" && what != gatewayUUID && !slices.Contains(g.types(), what) {
		return nil
	}
	location := g.Hostile.Location
	if location == "" {
		location = g.url("/rootDesc.xml")
	}
	usn := gatewayUUID
	if what != gatewayUUID {
		usn += "::" + what
	}
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: %s\r\nEXT:\r\n"+
		"SERVER: netsim UPnP/1.1 netsim/1\r\nLOCATION: %s\r\n\r\n", what, usn, location)
}

// types are what one may search for. A device of version 2 answers to version 1 as well.
func (g *gateway) types() (out []string) {
	for v := 1; v <= g.UPnP; v++ {
		for _, name := range []string{
			"device:InternetGatewayDevice", "device:WANDevice", "device:WANConnectionDevice", "service:WANIPConnection",
		} {
			out = append(out, fmt.Sprintf("urn:schemas-upnp-org:%s:%d", name, v))
		}
	}
	return out
}

func (g *gateway) url(path string) string {
	return fmt.Sprintf("http://%v%s", netip.AddrPortFrom(g.Addr, portHTTP), path)
}
