package relayops

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers /metrics, /healthz (the process answers) and /readyz (new peers are welcome: neither starting nor
// draining). It changes nothing and has no secrets, but tells how busy the relay is: it belongs on an address that only the
// operator reaches.
func Handler(reg *prometheus.Registry, state func() State) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch s := state(); {
		case s.Draining:
			answer(w, http.StatusServiceUnavailable, "draining")
		case !s.Ready:
			answer(w, http.StatusServiceUnavailable, "starting")
		default:
			answer(w, http.StatusOK, "ready")
		}
	})
	return mux
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n")
}

// Server serves HTTP to an operator's tools.
type Server struct {
	Addr net.Addr

	srv  *http.Server
	done sync.WaitGroup
}

// Serve listens on a TCP address and serves h until Close. Slow clients are cut off.
func Serve(ctx context.Context, addr string, h http.Handler) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("relayops: metrics on %s: %w", addr, err)
	}
	s := &Server{Addr: l.Addr(), srv: &http.Server{
		Handler: h, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}
	s.done.Go(func() { _ = s.srv.Serve(l) }) // ends with Close
	return s, nil
}

// Close stops serving at once.
func (s *Server) Close() {
	_ = s.srv.Close() // of what it could tell nothing matters any more
	s.done.Wait()
}
