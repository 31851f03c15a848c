package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/2xppg/xppg/relaymesh/carrier"
)

// listeners takes peers that come by TCP or WebSocket because UDP is blocked where they are.
type listeners struct {
	tcp, ws net.Listener // nil: none
	http    http.Server
}

// listenStreams opens the listeners that cfg names.
func listenStreams(cfg Config) (*listeners, error) {
	l := &listeners{}
	open := func(what, addr string) (net.Listener, error) {
		if addr == "" {
			return nil, nil
		}
		listen := cfg.ListenStream
		if listen == nil {
			listen = func(addr string) (net.Listener, error) {
				var lc net.ListenConfig
				return lc.Listen(context.Background(), "tcp", addr)
			}
		}
		ln, err := listen(addr)
		if err != nil {
			return nil, fmt.Errorf("api: listen for %s on %s: %w", what, addr, err)
		}
		return ln, nil
	}
	var err error
	if l.tcp, err = open("TCP", cfg.ListenTCP); err != nil {
		return nil, err
	}
	if l.ws, err = open("WebSocket", cfg.ListenWS); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// serve has the playground serve them until close. Connections that were taken end with its carrier.
func (l *listeners) serve(pg *Playground) {
	if l.tcp != nil {
		pg.wg.Go(func() { _ = pg.carrier.Serve(l.tcp) }) // ends with close
	}
	if l.ws != nil {
		l.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			carrier.Tune(c)
			return ctx
		}
		l.http.Handler, l.http.ReadHeaderTimeout, l.http.MaxHeaderBytes = pg.carrier, 10*time.Second, 16<<10
		pg.wg.Go(func() { _ = l.http.Serve(l.ws) })
	}
}

func (l *listeners) close() {
	_ = l.http.Close() // does not know the connections that became WebSockets
	for _, ln := range []net.Listener{l.tcp, l.ws} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

// StreamAddrs returns the addresses at which the node takes peers by TCP and by WebSocket; nil means that it does not.
func (pg *Playground) StreamAddrs() (tcp, ws net.Addr) {
	if pg.listeners.tcp != nil {
		tcp = pg.listeners.tcp.Addr()
	}
	if pg.listeners.ws != nil {
		ws = pg.listeners.ws.Addr()
	}
	return tcp, ws
}
