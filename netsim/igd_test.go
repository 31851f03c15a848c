package netsim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// device is what a client reads of a description.
type device struct {
	Type     string   `xml:"deviceType"`
	Devices  []device `xml:"deviceList>device"`
	Services []struct {
		Type    string `xml:"serviceType"`
		Control string `xml:"controlURL"`
	} `xml:"serviceList>service"`
}

func search(what string) []byte {
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: " + what + "\r\n\r\n")
}

// igdClient asks a device as a program would that knows the protocol.
type igdClient struct {
	*gatewayWorld
	http *http.Client
}

func (w *gatewayWorld) client() igdClient {
	tr := &http.Transport{DialContext: w.in.DialContext, DisableKeepAlives: true}
	return igdClient{w, &http.Client{Transport: tr, Timeout: time.Minute}}
}

func (c igdClient) get(url string) (string, error) {
	resp, err := c.http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(b), err
}

// do does an action, whose arguments are pairs, and returns the answer without its
// envelope, or the number of an error.
func (c igdClient) do(version int, name string, args ...string) string {
	c.t.Helper()
	service := fmt.Sprintf("urn:schemas-upnp-org:service:WANIPConnection:%d", version)
	var b strings.Builder
	fmt.Fprintf(&b, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:%s xmlns:u="%s">`, name, service)
	for i := 0; i < len(args); i += 2 {
		fmt.Fprintf(&b, "<%s>%s</%[1]s>", args[i], args[i+1])
	}
	fmt.Fprintf(&b, "</u:%s></s:Body></s:Envelope>", name)
	req, _ := http.NewRequest("POST", "http://192.168.1.1:5000/ctl/IPConn", strings.NewReader(b.String()))
	req.Header.Set("SOAPAction", `"`+service+"#"+name+`"`)
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	s := string(got)
	between := func(from, to string) string {
		_, s, _ := strings.Cut(s, from)
		s, _, _ = strings.Cut(s, to)
		return s
	}
	if resp.StatusCode != http.StatusOK {
		return between("<errorCode>", "</errorCode>")
	}
	return between(service+`">`, "</u:"+name+"Response>")
}

func (c igdClient) add(version int, name string, port, client, lease string) string {
	c.t.Helper()
	return c.do(version, name, "NewRemoteHost", "", "NewExternalPort", port, "NewProtocol", "UDP", "NewInternalPort", "4242",
		"NewInternalClient", client, "NewEnabled", "1", "NewPortMappingDescription", "a &amp; b", "NewLeaseDuration", lease)
}

func (c igdClient) wantDo(what, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// From the search to the device's service, as a client finds it.
func TestUPnPDiscovery(t *testing.T) {
	inBubbleHome(t, NAT{}, Gateway{UPnP: 2}, func(t *testing.T, w *gatewayWorld) {
		for _, to := range []string{"239.255.255.250:1900", "192.168.1.1:1900"} {
			for _, what := range []string{
				"ssdp:all", "upnp:rootdevice", "urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:service:WANIPConnection:2",
			} {
				got := string(w.request(to, search(what)))
				if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n") {
					t.Errorf("%s: answered %q", what, got)
				}
			}
			for _, b := range []string{"", "M-SEARCH * HTTP/1.1\r\n\r\n", string(search("urn:schemas-upnp-org:device:Printer:1"))} {
				if got := w.request(to, []byte(b)); got != nil {
					t.Errorf("%q: answered %q", b, got)
				}
			}
		}
		s, err := w.client().get("http://192.168.1.1:5000/rootDesc.xml")
		if err != nil {
			t.Fatal(err)
		}
		var root struct {
			Device device `xml:"device"`
		}
		if err := xml.Unmarshal([]byte(s), &root); err != nil {
			t.Fatal(err)
		}
		service := root.Device.Devices[0].Devices[0].Services[0]
		if root.Device.Type != "urn:schemas-upnp-org:device:InternetGatewayDevice:2" ||
			service.Type != "urn:schemas-upnp-org:service:WANIPConnection:2" || service.Control != "/ctl/IPConn" {
			t.Errorf("described as %+v", root)
		}
		// A search does not leave the house.
		w.send(w.stranger, "239.255.255.250:1900", string(search("ssdp:all")))
		w.wantNothing(w.stranger)
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1}, func(t *testing.T, w *gatewayWorld) {
		if got := w.request("239.255.255.250:1900", search("urn:schemas-upnp-org:device:InternetGatewayDevice:2")); got != nil {
			t.Errorf("version 1 answers to version 2: %q", got)
		}
	})
}

func TestUPnPForwardings(t *testing.T) {
	inBubbleHome(t, Presets["linux-random"], Gateway{UPnP: 1}, func(t *testing.T, w *gatewayWorld) {
		c := w.client()
		c.wantDo("address", c.do(1, "GetExternalIPAddress"), "<NewExternalIPAddress>1.0.0.1</NewExternalIPAddress>")
		c.wantDo("add", c.add(1, "AddPortMapping", "80", "192.168.1.2", "600"), "")
		w.wantForwards("udp 1.0.0.1:80 > 192.168.1.2:4242")
		w.wantReach(80, true)
		c.wantDo("add", c.add(1, "AddPortMapping", "81", "192.168.1.2", "0"), "")
		c.wantDo("conflict", c.add(1, "AddPortMapping", "80", "192.168.1.3", "600"), "718")
		c.wantDo("any in version 1", c.add(1, "AddAnyPortMapping", "80", "192.168.1.2", "600"), "401")
		c.wantDo("no port", c.add(1, "AddPortMapping", "70000", "192.168.1.2", "600"), "402")
		c.wantDo("no lease", c.add(1, "AddPortMapping", "82", "192.168.1.2", "-1"), "402")
		c.wantDo("nonsense", c.do(1, "Nonsense"), "401")

		time.Sleep(time.Hour)
		w.wantForwards("udp 1.0.0.1:81 > 192.168.1.2:4242") // for ever
		entry := []string{"NewRemoteHost", "", "NewExternalPort", "81", "NewProtocol", "UDP"}
		c.wantDo("entry", c.do(1, "GetSpecificPortMappingEntry", entry...), "<NewInternalPort>4242</NewInternalPort>"+
			"<NewInternalClient>192.168.1.2</NewInternalClient><NewEnabled>1</NewEnabled>"+
			"<NewPortMappingDescription>a &amp; b</NewPortMappingDescription><NewLeaseDuration>0</NewLeaseDuration>")
		c.wantDo("delete", c.do(1, "DeletePortMapping", entry...), "")
		c.wantDo("delete again", c.do(1, "DeletePortMapping", entry...), "714")
		c.wantDo("no entry", c.do(1, "GetSpecificPortMappingEntry", entry...), "714")
		w.wantForwards()
		w.router.Reboot(time.Second)
		time.Sleep(11 * time.Second)
		if got := c.do(1, "GetStatusInfo"); !strings.Contains(got, "<NewUptime>10</NewUptime>") {
			t.Errorf("after a reboot: %s", got)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 2, NATPMP: true}, func(t *testing.T, w *gatewayWorld) {
		other := w.NewHost("other", w.in.segment, Link{}, addr("192.168.1.3"))
		c := w.client()
		c.wantDo("for another one", c.add(2, "AddPortMapping", "80", "192.168.1.3", "600"), "606")
		c.wantDo("add", c.add(2, "AddAnyPortMapping", "80", "192.168.1.2", "0"), "<NewReservedPort>80</NewReservedPort>")
		if left := w.router.Forwards()[0].Left.Round(time.Hour); left != 7*24*time.Hour {
			t.Errorf("a lease without end is left for %v", left)
		}
		c.wantDo("again", c.add(2, "AddAnyPortMapping", "90", "192.168.1.2", "600"), "<NewReservedPort>80</NewReservedPort>")
		w.in = other
		c = w.client()
		if got := c.add(2, "AddAnyPortMapping", "80", "192.168.1.3", "600"); !strings.HasPrefix(got, "<NewReservedPort>") || strings.Contains(got, ">80<") {
			t.Errorf("a port that is taken: %s", got)
		}
		c.wantDo("what is another's", c.do(2, "DeletePortMapping", "NewExternalPort", "80", "NewProtocol", "UDP"), "606")
	})
}

func TestHostileUPnP(t *testing.T) {
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1, Hostile: Hostile{EndlessXML: true}}, func(t *testing.T, w *gatewayWorld) {
		if s, err := w.client().get("http://192.168.1.1:5000/rootDesc.xml"); err != nil || len(s) != 1<<20 {
			t.Errorf("%d bytes: %v", len(s), err)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1, Hostile: Hostile{Redirect: "http://2.0.0.1/"}}, func(t *testing.T, w *gatewayWorld) {
		elsewhere := w.listenTCP(w.out, "0.0.0.0:80")
		went := false
		go func() {
			if c, err := elsewhere.Accept(); err == nil {
				went = true
				_ = c.Close()
			}
		}()
		if s, err := w.client().get("http://192.168.1.1:5000/rootDesc.xml"); err == nil || !went {
			t.Errorf("%q, redirected: %v", s, went)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1, Hostile: Hostile{Location: "http://2.0.0.1/", ControlURL: "http://2.0.0.1/ctl"}}, func(t *testing.T, w *gatewayWorld) {
		if got := string(w.request("239.255.255.250:1900", search("ssdp:all"))); !strings.Contains(got, "LOCATION: http://2.0.0.1/\r\n") {
			t.Errorf("located at %q", got)
		}
		s, err := w.client().get("http://192.168.1.1:5000/rootDesc.xml")
		if err != nil || !strings.Contains(s, "<controlURL>http://2.0.0.1/ctl</controlURL>") {
			t.Errorf("%s %v", s, err)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1, Refuses: true}, func(_ *testing.T, w *gatewayWorld) {
		c := w.client()
		c.wantDo("refused", c.add(1, "AddPortMapping", "80", "192.168.1.2", "600"), "606")
	})
	inBubbleHome(t, NAT{}, Gateway{UPnP: 1, PermanentOnly: true, Hostile: Hostile{NoMapping: true}}, func(_ *testing.T, w *gatewayWorld) {
		c := w.client()
		c.wantDo("a lease", c.add(1, "AddPortMapping", "80", "192.168.1.2", "600"), "725")
		c.wantDo("for ever, it says", c.add(1, "AddPortMapping", "80", "192.168.1.2", "0"), "")
		w.wantForwards()
	})
}

// What is no XML, or too much of it, is an error, not a story without end.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{"", "<a>1</a>", "<a><b>1</b><c/></a>", "<a", "<!DOCTYPE x [<!ENTITY a 'b'>]><a>&a;</a>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args, err := readArguments(strings.NewReader(s))
		if err != nil && args != nil {
			t.Error("an error with arguments")
		}
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return
		}
		if len(args) > len(s) {
			t.Errorf("%d arguments in %d bytes", len(args), len(s))
		}
	})
}
