package portmap

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestUPnP(t *testing.T) {
	tests := []struct {
		name    string
		version int
		change  func(*fakeIGD)
		port    uint16 // 0: any but ours
		lease   string
	}{
		{"IGD 1", 1, nil, ourPort, "7200"},
		{"IGD 2", 2, nil, ourPort, "7200"},
		{"PPP", 1, func(g *fakeIGD) { g.service = "urn:schemas-upnp-org:service:WANPPPConnection:1" }, ourPort, "7200"},
		{"IGD 1, mappings that stay only", 1, func(g *fakeIGD) { g.permanent = true }, ourPort, "0"},
		{"IGD 1, port taken", 1, func(g *fakeIGD) { g.taken["4242"] = true }, 0, "7200"},
		{"IGD 2, port taken", 2, func(g *fakeIGD) { g.taken["4242"] = true }, ourPort + 1, "7200"},
		{"control URL in full", 1, func(g *fakeIGD) { g.control = "http://192.168.1.1:5000/control" }, ourPort, "7200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inHome(t, func(h *home) {
				g := h.igd(tt.version, tt.change)
				c, stop := h.start(nil)
				wait(5 * time.Second)
				m := h.wantState(c, Believed, UPnP)
				if p := m.External.Port(); m.External.Addr() != wan || tt.port != 0 && p != tt.port || tt.port == 0 && p == ourPort {
					t.Errorf("external %v, want port %d", m.External, tt.port)
				}
				if got := g.leases[fmt.Sprint(m.External.Port())]; got != tt.lease || m.Expires.IsZero() != (tt.lease == "0") {
					t.Errorf("lease %s, expires %v; want %s", got, m.Expires, tt.lease)
				}
				wait(90 * time.Minute)
				h.wantState(c, Believed, UPnP)
				if n := g.r.asked("AddPortMapping"); tt.lease != "0" && n == 0 {
					t.Error("not renewed")
				}
				stop()
				if left := g.r.ports(); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

func TestUPnPRestart(t *testing.T) {
	for _, control := range []string{"/control", "/moved"} {
		t.Run(control, func(t *testing.T) {
			inHome(t, func(h *home) {
				g := h.igd(1, nil)
				c, stop := h.start(func(o *Options) { o.Verify = nil })
				defer stop()
				wait(100 * time.Second)
				h.wantState(c, Made, UPnP)
				g.r.restart()
				g.r.change(func() { g.control = control })
				wait(time.Minute)
				h.wantState(c, Made, UPnP)
				if len(g.r.ports()) != 1 {
					t.Error("it was not made anew within 60 s")
				}
			})
		})
	}
}

// Nobody stops sending.
func endless(w http.ResponseWriter, b string) {
	for {
		if _, err := io.WriteString(w, b); err != nil {
			return
		}
	}
}

func TestHostileUPnP(t *testing.T) {
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, to, http.StatusFound) }
	}
	var asked int
	tests := []struct {
		name   string
		change func(*fakeIGD)
		why    string // what is told
	}{
		{"endless description", func(g *fakeIGD) {
			g.describe = func(w http.ResponseWriter, _ *http.Request) { endless(w, "<root>") }
		}, "of no use"},
		{"endless text in a description", func(g *fakeIGD) {
			g.describe = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "<root>")
				endless(w, strings.Repeat("x", 4096))
			}
		}, "no end"},
		{"endless header", func(g *fakeIGD) {
			g.describe = func(w http.ResponseWriter, _ *http.Request) {
				for i := range 40000 {
					w.Header().Set(fmt.Sprintf("X-%d", i), "x")
				}
			}
		}, "of no use"},
		{"silence after the search", func(g *fakeIGD) {
			g.describe = func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
		}, "in time"},
		{"redirect to another host", func(g *fakeIGD) { g.describe = redirect("http://192.168.1.77/root.xml") }, "not the router"},
		{"redirects in circles", func(g *fakeIGD) { g.describe = redirect("/root.xml") }, "circles"},
		{"no XML", func(g *fakeIGD) { g.describe = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") } }, "of no use"},
		{"no service", func(g *fakeIGD) { g.service = "urn:schemas-upnp-org:service:Layer3Forwarding:1" }, "no port mapping"},
		{"control at another host", func(g *fakeIGD) { g.control = "http://192.168.1.77/control" }, "not the router"},
		{"location at another host", func(g *fakeIGD) { g.location = "http://192.168.1.77:5000/root.xml" }, "no answer"},
		{"location by name", func(g *fakeIGD) { g.location = "http://router.example/root.xml" }, "no answer"},
		{"location of a file", func(g *fakeIGD) { g.location = "file://192.168.1.1/etc/passwd" }, "no answer"},
		{"endless answer", func(g *fakeIGD) {
			g.soap = func(w http.ResponseWriter, _ *http.Request) { asked++; endless(w, "<s:Envelope>") }
		}, ""},
		{"loopback", func(g *fakeIGD) { g.r.wan = netip.MustParseAddr("127.0.0.1") }, ""},
		{"not connected", func(g *fakeIGD) { g.r.wan = netip.MustParseAddr("0.0.0.0") }, ""},
		{"multicast", func(g *fakeIGD) { g.r.wan = netip.MustParseAddr("224.0.0.251") }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inHome(t, func(h *home) {
				h.igd(1, tt.change)
				c, stop := h.start(nil)
				defer stop()
				wait(11 * time.Second)
				h.wantState(c, Tried, 0)
				a := c.Status().Attempts[2]
				if a.Protocol != UPnP || (a.Err == nil) != (tt.why == "") || a.Err != nil && !strings.Contains(a.Err.Error(), tt.why) {
					t.Errorf("%v, want %q", a, tt.why)
				}
			})
		})
	}
	if asked == 0 {
		t.Error("the service was never asked")
	}
}

// A device of the home that is not the gateway offers itself.
func TestSearchHearsTheGatewayOnly(t *testing.T) {
	inHome(t, func(h *home) {
		g := h.igd(1, nil)
		h.router(gateway2, nil)
		h.routers = h.routers[1:] // the one that speaks UPnP is no gateway of ours
		c, stop := h.start(nil)
		defer stop()
		defer g.r.close()
		wait(6 * time.Second)
		h.wantState(c, Tried, 0)
	})
}

func FuzzSSDP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://192.168.1.1:5000/r\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: x:InternetGatewayDevice:\r\nLOCATION: http://a@192.168.1.1/\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := parseSSDP(b, gateway1)
		if err == nil && (u.Hostname() != gateway1.String() || u.Scheme != "http") {
			t.Errorf("sent to %v", u)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add(`<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://192.168.1.1/</URLBase><device><serviceList><service>` +
		`<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>c</controlURL></service></serviceList></device></root>`)
	where, _ := url.Parse("http://192.168.1.1:5000/root.xml")
	f.Fuzz(func(t *testing.T, s string) {
		root, err := parseDescription(strings.NewReader(s), where)
		if err != nil {
			return
		}
		services, err := servicesOf(root, where, gateway1, http.Client{})
		if err == nil && len(services) == 0 || len(services) > maxServices {
			t.Errorf("%d services", len(services))
		}
		for _, s := range services {
			if at := s.GetServiceClient().SOAPClient.EndpointURL; at.Hostname() != gateway1.String() {
				t.Errorf("control at %v", &at)
			}
		}
	})
}
