package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/coder/websocket"
)

// Dial connects to a URL and returns the address that stands for the connection:
// tcp://host:port, ws://host/path or wss://host/path. All go through the HTTP
// proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) by CONNECT. Of ws, where the
// proxy makes no tunnel, it is asked to upgrade the request itself, which few do. The context
// counts until the connection is there.
func (c *Conn) Dial(ctx context.Context, rawURL string) (netip.AddrPort, error) {
	s, err := c.dial(ctx, rawURL)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("carrier: dial %q: %w", rawURL, err)
	}
	a, ok := c.add(s, false, netip.Addr{})
	if !ok {
		s.close()
		return netip.AddrPort{}, fmt.Errorf("carrier: dial %q: %w", rawURL, net.ErrClosed)
	}
	return a, nil
}

func (c *Conn) dial(ctx context.Context, rawURL string) (stream, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "tcp":
		conn, err := c.dialTCP(ctx, "https", u.Host)
		if err != nil {
			return nil, err
		}
		return newTCP(conn), nil
	case "ws":
		// RFC 6455 section 4.1 wants a tunnel here, too.
		tunneled := func(ctx context.Context, _, addr string) (net.Conn, error) { return c.dialTCP(ctx, "http", addr) }
		s, err := c.upgrade(ctx, rawURL, &http.Transport{DialContext: tunneled, DisableKeepAlives: true})
		if !errors.Is(err, errNoTunnel) {
			return s, err
		}
		fallthrough
	case "wss":
		return c.upgrade(ctx, rawURL, &http.Transport{DialContext: c.cfg.Dial, Proxy: c.cfg.Proxy, TLSClientConfig: c.cfg.TLS.Clone(), DisableKeepAlives: true})
	}
	return nil, errors.New("the scheme is none of tcp, ws, wss")
}

// upgrade asks for a WebSocket.
func (c *Conn) upgrade(ctx context.Context, rawURL string, by *http.Transport) (stream, error) {
	conn, resp, err := websocket.Dial(ctx, rawURL, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: by, CheckRedirect: refuseRedirect}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, err
	}
	return newWebSocket(conn), nil
}

// refuseRedirect has a connection go to where its URL says and nowhere else: who tells us a URL is not to choose among all hosts
// that we can reach.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
