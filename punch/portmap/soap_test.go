package portmap

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/huin/goupnp"
)

// answers is a transport that answers every request with the same bytes.
type answers struct {
	status int
	text   string
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Status: "status", Header: http.Header{}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(a.text))}, nil
}

// nowhere is a network in which nothing can be opened.
type nowhere struct{}

var errNowhere = errors.New("no network")

func (nowhere) Gateways() ([]Gateway, error) { return nil, errNowhere }

func (nowhere) ListenPacket(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return nil, errNowhere
}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) { return nil, errNowhere }

func FuzzSOAP(f *testing.F) {
	const body = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`
	f.Add(200, body+`<u:R xmlns:u="urn:x"><NewExternalIPAddress>20.0.0.1</NewExternalIPAddress><NewReservedPort>7</NewReservedPort></u:R></s:Body></s:Envelope>`)
	f.Add(500, body+`<s:Fault><detail><UPnPError><errorCode>725</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>`)
	where, _ := url.Parse("http://192.168.1.1:5000/root.xml")
	f.Fuzz(func(t *testing.T, status int, text string) {
		root := &goupnp.RootDevice{}
		for _, s := range []string{"WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1"} {
			root.Device.Services = append(root.Device.Services, goupnp.Service{ServiceType: "urn:schemas-upnp-org:service:" + s})
		}
		root.SetURLBase(where)
		services, err := servicesOf(root, where, gateway1, http.Client{Transport: bounded{answers{status, text}}})
		if err != nil {
			t.Fatal(err)
		}
		w := &igdWay{link: link{net: nowhere{}, gw: Gateway{gateway1, ours}}, chance: func() float64 { return 0.5 }, services: services}
		l, err := w.make(context.Background(), ourPort, lease{}, time.Hour)
		if err == nil && checkExternal(l.external) != nil {
			t.Errorf("believed %v", l.external)
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		_ = w.check(context.Background(), ourPort, l)
		_ = w.remove(context.Background(), ourPort, l)
	})
}
