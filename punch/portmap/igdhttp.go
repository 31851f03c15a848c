package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/huin/goupnp"
)

const (
	maxXML     = 256 << 10 // bytes of a description or an answer
	maxHeaders = 16 << 10
	maxHops    = 3 // redirects, all of them to the gateway itself
)

var errTooLong = errors.New("the router's answer has no end")

// httpClient returns a client that reaches the gateway only, whatever that says, and reads no more than maxXML of an answer.
// It leaves no connection open. Requests need a context that ends.
func (l link) httpClient() http.Client {
	return http.Client{
		Transport: bounded{&http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if to, err := netip.ParseAddrPort(addr); err != nil || to.Addr() != l.gw.Addr {
					return nil, fmt.Errorf("the router sends us to %.100q, which is not the router", addr)
				}
				return l.net.DialContext(ctx, network, addr)
			},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeaders,
		}},
		CheckRedirect: func(to *http.Request, before []*http.Request) error {
			if len(before) > maxHops {
				return errors.New("the router sends us round in circles")
			}
			return checkPlace(to.URL, l.gw.Addr)
		},
	}
}

// bounded cuts the bodies of answers off.
type bounded struct{ http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &body{resp.Body, maxXML}
	}
	return resp, err
}

type body struct {
	io.ReadCloser
	left int
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// describe fetches the description of the gateway. goupnp.DeviceByURLCtx does so with one client for the whole program
// and without bounds.
func describe(ctx context.Context, c *http.Client, where *url.URL) (*goupnp.RootDevice, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, describeError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, describeError(ctx, fmt.Errorf("status %d", resp.StatusCode))
	}
	root, err := parseDescription(resp.Body, where)
	if err != nil {
		return nil, describeError(ctx, err)
	}
	return root, nil
}

func describeError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errors.New("it did not come in time")
	}
	return fmt.Errorf("the router has UPnP, but its description is of no use: %w", err)
}

// parseDescription reads a description that came from where. A base at another host is no use to us, and often a mistake.
func parseDescription(r io.Reader, where *url.URL) (*goupnp.RootDevice, error) {
	root := new(goupnp.RootDevice)
	d := xml.NewDecoder(r)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := d.Decode(root); err != nil {
		return nil, err
	}
	base, err := url.Parse(root.URLBaseStr)
	if err != nil || base.Hostname() != where.Hostname() {
		base = where
	}
	root.SetURLBase(base)
	return root, nil
}
