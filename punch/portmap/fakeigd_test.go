package portmap

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// fakeIGD is the UPnP of a router. Its fields may be changed before it is first asked.
type fakeIGD struct {
	r         *fakeRouter
	version   int               // 1 or 2
	location  string            // "" is the right one
	describe  http.HandlerFunc  // instead of a description
	control   string            // the URL of the service, "" is the right one
	soap      http.HandlerFunc  // instead of the service
	permanent bool              // error 725 for mappings that end
	taken     map[string]bool   // external ports of others
	leases    map[string]string // seconds by external port
	service   string            // its type
	srv       *http.Server
	conns     pipes
}

// pipes is a listener of connections that never were on a wire.
type pipes struct {
	next chan net.Conn
	once sync.Once
	done chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.next:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.next <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// igd makes a router that speaks UPnP only.
func (h *home) igd(version int, change func(*fakeIGD)) *fakeIGD {
	r := h.router(gateway1, nil)
	g := &fakeIGD{r: r, version: version, taken: map[string]bool{}, leases: map[string]string{},
		service:  fmt.Sprintf("urn:schemas-upnp-org:service:WANIPConnection:%d", version),
		location: "http://192.168.1.1:5000/root.xml", control: "/control",
		conns: pipes{next: make(chan net.Conn), done: make(chan struct{})}}
	if change != nil {
		change(g)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/root.xml", g.root)
	mux.HandleFunc("/control", g.act)
	mux.HandleFunc("/moved", g.act)
	g.srv = &http.Server{Handler: mux}
	r.igd = g
	go func() { _ = g.srv.Serve(&g.conns) }()
	r.listen(netip.MustParseAddrPort("0.0.0.0:1900"), func(b []byte) []byte {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !strings.HasPrefix(string(b), "M-SEARCH ") || r.silent {
			return nil
		}
		return []byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: " + g.location + "\r\n\r\n")
	})
	return g
}

func (g *fakeIGD) root(w http.ResponseWriter, q *http.Request) {
	if g.describe != nil {
		g.describe(w, q)
		return
	}
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	fmt.Fprintf(w, `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:%d</deviceType><deviceList><device><deviceList><device>
<serviceList><service><serviceType>%s</serviceType><controlURL>%s</controlURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>`, g.version, g.service, g.control)
}

var argument = regexp.MustCompile(`<(New\w+)>([^<]*)</`)

// act performs an action.
func (g *fakeIGD) act(w http.ResponseWriter, q *http.Request) {
	if g.soap != nil {
		g.soap(w, q)
		return
	}
	g.r.mu.Lock()
	elsewhere := q.URL.Path != g.control && g.control == "/moved"
	g.r.mu.Unlock()
	if elsewhere {
		http.NotFound(w, q)
		return
	}
	b, _ := io.ReadAll(q.Body)
	args := map[string]string{}
	for _, m := range argument.FindAllStringSubmatch(string(b), -1) {
		args[m[1]] = m[2]
	}
	_, name, _ := strings.Cut(strings.Trim(q.Header.Get("SOAPACTION"), `"`), "#")
	r := g.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, name)
	port, _ := strconv.Atoi(args["NewExternalPort"])
	internal, _ := strconv.Atoi(args["NewInternalPort"])
	switch mapped, ok := r.mapped[uint16(port)]; name {
	case "GetExternalIPAddress":
		g.say(w, name, "<NewExternalIPAddress>"+r.wan.String()+"</NewExternalIPAddress>")
	case "AddPortMapping", "AddAnyPortMapping":
		if name == "AddAnyPortMapping" && g.taken[args["NewExternalPort"]] {
			port++
		}
		switch {
		case g.taken[strconv.Itoa(port)]:
			g.refuse(w, 718)
		case g.permanent && args["NewLeaseDuration"] != "0":
			g.refuse(w, 725)
		default:
			r.mapped[uint16(port)] = uint16(internal)
			g.leases[strconv.Itoa(port)] = args["NewLeaseDuration"]
			g.say(w, name, fmt.Sprintf("<NewReservedPort>%d</NewReservedPort>", port))
		}
	case "GetSpecificPortMappingEntry":
		if !ok {
			g.refuse(w, 714)
			return
		}
		g.say(w, name, fmt.Sprintf("<NewInternalPort>%d</NewInternalPort><NewInternalClient>%v</NewInternalClient><NewEnabled>1</NewEnabled>"+
			"<NewPortMappingDescription>x</NewPortMappingDescription><NewLeaseDuration>9</NewLeaseDuration>", mapped, ours))
	case "DeletePortMapping":
		delete(r.mapped, uint16(port))
		g.say(w, name, "")
	default:
		g.refuse(w, 401)
	}
}

func (g *fakeIGD) say(w io.Writer, action, args string) {
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:%sResponse xmlns:u="%s">%s</u:%[1]sResponse></s:Body></s:Envelope>`,
		action, g.service, args)
}

func (g *fakeIGD) refuse(w http.ResponseWriter, code int) {
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>`+
		`<faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode>`+
		`<errorDescription>no</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code)
}
