package carrier

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const maxProxyAnswer = 16 << 10 // bytes

// errNoTunnel: the proxy was reached, and makes no tunnel to that host.
var errNoTunnel = errors.New("the proxy makes no tunnel")

// dialTCP connects to a host, through the proxy that http or https, as the scheme says, would take if there is one.
func (c *Conn) dialTCP(ctx context.Context, scheme, host string) (net.Conn, error) {
	proxy, err := c.cfg.Proxy(&http.Request{URL: &url.URL{Scheme: scheme, Host: host}})
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return c.cfg.Dial(ctx, "tcp", host)
	}
	if proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, fmt.Errorf("a proxy with the scheme %q is not supported", proxy.Scheme)
	}
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	conn, err := c.cfg.Dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		cfg := c.cfg.TLS.Clone()
		if cfg == nil {
			cfg = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if cfg.ServerName == "" {
			cfg.ServerName = proxy.Hostname()
		}
		conn = tls.Client(conn, cfg)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := connect(conn, host, proxy.User)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is in the past now
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

// connect asks a proxy for a tunnel to a host (RFC 9110 section 9.3.6).
func connect(conn net.Conn, host string, user *url.Userinfo) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: host}, Host: host, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	in := bufio.NewReader(limited)
	resp, err := http.ReadResponse(in, req) //nolint:bodyclose // a tunnel has no body, and closing one could read from it
	if err != nil {
		return nil, fmt.Errorf("the proxy's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: it answers %s", errNoTunnel, resp.Status)
	}
	limited.N = 1<<63 - 1
	return &tunnel{conn, in}, nil
}

// tunnel is a connection of which some bytes may have been read already.
type tunnel struct {
	net.Conn
	in *bufio.Reader
}

func (t *tunnel) Read(b []byte) (int, error) { return t.in.Read(b) }
