package carrier

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/udp"
)

// onLoopback wraps sockets of 127.0.0.1. What b receives, it sends back.
func onLoopback(t *testing.T, cfg Config) (a, b *Conn) {
	t.Helper()
	var conns [2]*Conn
	for i, c := range []Config{cfg, {}} {
		sock, err := udp.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = New(sock, c)
	}
	a, b = conns[0], conns[1]
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		bufs, sizes, addrs := [][]byte{make([]byte, maxPacket)}, make([]int, 1), make([]netip.AddrPort, 1)
		for {
			n, err := b.ReadBatch(bufs, sizes, addrs)
			if err != nil {
				return
			}
			if n > 0 {
				_, _ = b.WriteBatch([][]byte{bufs[0][:sizes[0]]}, addrs)
			}
		}
	}()
	t.Cleanup(func() {
		_, _ = a.Close(), b.Close()
		<-echoed
	})
	return a, b
}

func wantEcho(t *testing.T, c *Conn, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	to, err := c.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	send(c, to, "hello")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	bufs, sizes, addrs := [][]byte{make([]byte, maxPacket)}, make([]int, 1), make([]netip.AddrPort, 1)
	if _, err := c.ReadBatch(bufs, sizes, addrs); err != nil || string(bufs[0][:sizes[0]]) != "hello" || addrs[0] != to {
		t.Errorf("%q from %v, %v", bufs[0][:sizes[0]], addrs[0], err)
	}
}

// proxy is an HTTP proxy that knows CONNECT and wants a password.
func proxy(t *testing.T) (*url.URL, *atomic.Int32) {
	t.Helper()
	var tunnels atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpzZWNyZXQ=" {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		var d net.Dialer
		out, err := d.DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		tunnels.Add(1)
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		back := make(chan struct{})
		go func() {
			defer close(back)
			_, _ = io.Copy(in, out)
			_ = in.Close()
		}()
		_, _ = io.Copy(out, rw)
		_ = out.Close()
		<-back
	}))
	t.Cleanup(srv.Close)
	u, _ := url.Parse(srv.URL)
	u.User = url.UserPassword("user", "secret")
	return u, &tunnels
}

func TestTLSAndProxies(t *testing.T) {
	for _, kind := range []string{"tcp", "ws", "wss"} {
		for _, proxied := range []bool{false, true} {
			u, tunnels := proxy(t)
			roots := x509.NewCertPool()
			cfg := Config{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyURL(nil)}
			if proxied {
				cfg.Proxy = http.ProxyURL(u)
			}
			a, b := onLoopback(t, cfg)
			target := ""
			switch kind {
			case "wss":
				srv := httptest.NewTLSServer(b)
				defer srv.Close()
				roots.AddCert(srv.Certificate())
				target = strings.Replace(srv.URL, "https", "wss", 1)
			case "ws":
				srv := httptest.NewServer(b)
				defer srv.Close()
				target = strings.Replace(srv.URL, "http", "ws", 1)
			default:
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() { _ = b.Serve(l) }()
				target = "tcp://" + l.Addr().String()
			}
			wantEcho(t, a, target)
			if got := tunnels.Load() == 1; got != proxied {
				t.Errorf("%s: through the proxy is %v, want %v", kind, got, proxied)
			}
		}
	}
}

// Where a proxy makes no tunnel it may upgrade a request itself.
func TestProxyThatUpgrades(t *testing.T) {
	var refused atomic.Int32
	var target *httputil.ReverseProxy
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			refused.Add(1)
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		target.ServeHTTP(w, r)
	}))
	defer srv.Close()
	at, _ := url.Parse(srv.URL)
	a, b := onLoopback(t, Config{Proxy: http.ProxyURL(at)})
	relay := httptest.NewServer(b)
	defer relay.Close()
	to, _ := url.Parse(relay.URL)
	target = httputil.NewSingleHostReverseProxy(to)
	wantEcho(t, a, strings.Replace(relay.URL, "http", "ws", 1))
	if refused.Load() != 1 {
		t.Errorf("%d tunnels refused", refused.Load())
	}
}

// A server whose certificate nobody has signed is not believed.
func TestCertificateCounts(t *testing.T) {
	a, b := onLoopback(t, Config{})
	srv := httptest.NewTLSServer(b)
	defer srv.Close()
	if _, err := a.Dial(t.Context(), strings.Replace(srv.URL, "https", "wss", 1)); err == nil {
		t.Error("connected")
	}
}

// What a proxy may answer instead of opening a tunnel ends in an error, and soon.
func TestHostileProxy(t *testing.T) {
	for name, answer := range map[string]string{
		"refuses": "HTTP/1.1 403 Forbidden\r\n\r\n", "talks nonsense": "hello\r\n\r\n", "never ends": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20),
		"is silent": "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						_, _ = http.ReadRequest(bufio.NewReader(theirs))
						if n, _ := io.WriteString(theirs, answer); n > 2*maxProxyAnswer {
							t.Errorf("%d bytes of an answer are read", n)
						}
						_, _ = io.Copy(io.Discard, theirs)
						_ = theirs.Close()
					}()
					return ours, nil
				}
				c := New(nil, Config{Dial: dial, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy:1"})})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				if a, err := c.Dial(ctx, "tcp://relay:1"); err == nil || time.Since(start) > 5*time.Second {
					t.Errorf("%v, %v after %v", a, err, time.Since(start))
				}
			})
		})
	}
}

func TestLimitPerSource(t *testing.T) {
	inOffice(t, Config{ConnsPerIP: 2}, func(o *office) {
		start := time.Now()
		for range 3 {
			o.dial(o.urls["tcp"])
		}
		time.Sleep(time.Second)
		o.b.mu.Lock()
		if o.b.accepted != 2 || len(o.b.perIP) != 1 {
			o.t.Errorf("%d connections, from %v", o.b.accepted, o.b.perIP)
		}
		o.b.mu.Unlock()
		o.wantClosed(netip.AddrPort{}) // no packet came
		o.wantClosed(netip.AddrPort{})
		if took := time.Since(start); took > firstTimeout+time.Second {
			o.t.Errorf("silent connections are closed after %v", took)
		}
		o.b.mu.Lock()
		defer o.b.mu.Unlock()
		if len(o.b.perIP) != 0 {
			o.t.Errorf("%v is still counted", o.b.perIP)
		}
	})
	for in, want := range map[string]string{"1.2.3.4": "1.2.3.4/32", "2001:db8::1%eth0": "2001:db8::/64"} {
		if got := network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s counts as %s, want %s", in, got, want)
		}
	}
}
