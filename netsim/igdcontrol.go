package netsim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Errors of UPnP (Device Architecture, section 3.2.5, and WANIPConnection:2, section
// 2.5).
const (
	upnpBadAction     = 401
	upnpBadArguments  = 402
	upnpFailed        = 501
	upnpRefused       = 606
	upnpNoSuchEntry   = 714
	upnpConflict      = 718
	upnpSamePorts     = 724 // the port outside has to be the one inside
	upnpPermanentOnly = 725
	upnpNoPorts       = 728
)

const (
	maxControl   = 64 << 10  // bytes of a request
	secondsAWeek = 7 * 86400 // what a lease without end is in version 2, and the most
)

// action is a request of SOAP.
type action struct {
	name   string
	client netip.Addr // who asks
	args   map[string]string
}

// argument is a value of an answer.
type argument struct{ name, value string }

// control answers a request of SOAP (Device Architecture, section 3.2).
func (g *gateway) control(w http.ResponseWriter, r *http.Request) {
	service, name, ok := strings.Cut(strings.Trim(r.Header.Get("Soapaction"), `"`), "#")
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	code, out := upnpBadAction, []argument(nil)
	if args, e := readArguments(http.MaxBytesReader(w, r.Body, maxControl)); err != nil || e != nil {
		code = upnpBadArguments
	} else if ok && strings.HasPrefix(service, "urn:schemas-upnp-org:service:WANIPConnection:") {
		if !g.atRouter(func(at int64) { out, code = g.act(at, action{name, from.Addr(), args}) }) {
			return
		}
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?>` + "\n" + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>`)
	if code != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(&b, `<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>`+
			`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode>`+
			`<errorDescription>no</errorDescription></UPnPError></detail></s:Fault>`, code)
	} else {
		fmt.Fprintf(&b, `<u:%sResponse xmlns:u="%s">`, name, service)
		for _, a := range out {
			fmt.Fprintf(&b, "<%s>", a.name)
			_ = xml.EscapeText(&b, []byte(a.value))
			fmt.Fprintf(&b, "</%s>", a.name)
		}
		fmt.Fprintf(&b, "</u:%sResponse>", name)
	}
	b.WriteString("</s:Body></s:Envelope>\n")
	_, _ = io.WriteString(w, b.String())
}

// readArguments returns the texts of all elements that have no others in them.
func readArguments(r io.Reader) (map[string]string, error) {
	args, d := map[string]string{}, xml.NewDecoder(r)
	text := ""
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return args, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			text = ""
		case xml.CharData:
			text += string(t)
		case xml.EndElement:
			args[t.Name.Local] = strings.TrimSpace(text)
			text = ""
		}
	}
}

// port reads a port, and protocol whether it is one of TCP. They set bad when they
// cannot.
func (a action) port(name string, bad *bool) uint16 {
	p, err := strconv.ParseUint(a.args[name], 10, 16)
	*bad = *bad || err != nil
	return uint16(p)
}

func (a action) protocol(bad *bool) (tcp bool) {
	p := a.args["NewProtocol"]
	*bad = *bad || (p != "TCP" && p != "UDP")
	return p == "TCP"
}
