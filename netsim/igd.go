package netsim

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// serveUPnP starts what answers searches, and the HTTP server of the device.
func (g *gateway) serveUPnP() {
	out := g.listen(netip.AddrPortFrom(g.Addr, portSSDP))
	g.serve(out, out, g.answerSearch)
	g.serve(g.listen(netip.AddrPortFrom(groupSSDP, portSSDP)), out, g.answerSearch)

	l, err := g.host.ListenTCP(netip.AddrPortFrom(g.Addr, portHTTP))
	if err != nil {
		panic(err) // the host is new, so its ports are free
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rootDesc.xml", g.describe)
	mux.HandleFunc("GET /WANIPCn.xml", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, serviceXML)
	})
	mux.HandleFunc("POST /ctl/IPConn", g.control)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
		if g.Hostile.Redirect != "" {
			http.Redirect(w, r, g.Hostile.Redirect, http.StatusTemporaryRedirect)
			return
		}
		mux.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(l) }() // until the network closes
}

// describe sends the description of the device.
func (g *gateway) describe(w http.ResponseWriter, _ *http.Request) {
	control := g.Hostile.ControlURL
	if control == "" {
		control = "/ctl/IPConn"
	}
	d := fmt.Sprintf(deviceXML, g.UPnP, gatewayUUID, control)
	if !g.Hostile.EndlessXML {
		_, _ = io.WriteString(w, d)
		return
	}
	_, err := io.WriteString(w, strings.TrimSuffix(d, "</device></root>\n"))
	for err == nil {
		_, err = io.WriteString(w, "<iconList><icon><mimetype>image/png</mimetype></icon></iconList>\n")
	}
}

// deviceXML describes an InternetGatewayDevice:1 or 2 (section 2 of its specification),
// with the version, the UUID and where to control it.
const deviceXML = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:%[1]d</deviceType>
<friendlyName>netsim</friendlyName><manufacturer>netsim</manufacturer><modelName>netsim</modelName><UDN>%[2]s</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:%[1]d</deviceType>
<friendlyName>WANDevice</friendlyName><manufacturer>netsim</manufacturer><modelName>netsim</modelName><UDN>%[2]s</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:%[1]d</deviceType>
<friendlyName>WANConnectionDevice</friendlyName><manufacturer>netsim</manufacturer><modelName>netsim</modelName><UDN>%[2]s</UDN>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:%[1]d</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/WANIPCn.xml</SCPDURL>
<controlURL>%[3]s</controlURL><eventSubURL>/evt/IPConn</eventSubURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>
`

// serviceXML would list the actions of the service; clients know them.
const serviceXML = `<?xml version="1.0"?>
<scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major><minor>0</minor></specVersion></scpd>
`
