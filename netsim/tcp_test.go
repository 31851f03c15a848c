package netsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var _ net.Conn = (*TCPConn)(nil)

func (w *world) listenTCP(h *Host, at string) *TCPListener {
	w.t.Helper()
	l, err := h.ListenTCP(addrPort(at))
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) dial(h *Host, to string) *TCPConn {
	w.t.Helper()
	c, err := h.DialTCP(context.Background(), addrPort(to))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) accept(l *TCPListener) *TCPConn {
	w.t.Helper()
	_ = l.SetDeadline(time.Now().Add(time.Minute))
	c, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	return c.(*TCPConn)
}

// pair makes a stream between two public hosts: who dialled, and who accepted.
func (w *world) pair(l Link) (a, b *TCPConn) {
	w.t.Helper()
	ha, hb := w.public("a", "1.0.0.1", l), w.public("b", "1.0.0.2", l)
	ln := w.listenTCP(hb, "0.0.0.0:80")
	a = w.dial(ha, "1.0.0.2:80")
	b = w.accept(ln)
	_ = ln.Close()
	return a, b
}

func random(size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// transfer sends data one way and returns how long it takes until all of it was read.
func (w *world) transfer(from, to *TCPConn, data []byte) time.Duration {
	w.t.Helper()
	start := time.Now()
	go func() {
		if n, err := from.Write(data); n != len(data) || err != nil {
			w.t.Errorf("wrote %d of %d: %v", n, len(data), err)
		}
		_ = from.CloseWrite()
	}()
	got, err := io.ReadAll(to)
	if err != nil || !bytes.Equal(got, data) {
		w.t.Fatalf("got %d bytes of %d, the same: %v; %v", len(got), len(data), bytes.Equal(got, data), err)
	}
	return time.Since(start)
}

func (w *world) wantErr(what string, got, want error) {
	w.t.Helper()
	var op *net.OpError
	if !errors.Is(got, want) || !errors.As(got, &op) {
		w.t.Errorf("%s: %v, want a *net.OpError with %v", what, got, want)
	}
}

func TestStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		a, b := w.pair(Link{Delay: 10 * time.Millisecond})
		if took := time.Since(start).Round(time.Microsecond); took != 60*time.Millisecond {
			t.Errorf("dialling and accepting took %v, want one round trip and a half", took)
		}
		if a.RemoteAddr().String() != "1.0.0.2:80" || b.RemoteAddr().String() != a.LocalAddr().String() {
			t.Errorf("%v to %v, %v to %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
		}
		w.transfer(a, b, random(1_000_000))
		w.transfer(b, a, random(300_000)) // the other direction goes on
		if _, err := a.Write(nil); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write after CloseWrite: %v", err)
		}
		_, _ = a.Close(), b.Close()
		w.wantErr("read", second(a.Read(nil)), net.ErrClosed)
		w.wantErr("write", second(a.Write([]byte("x"))), net.ErrClosed)
		w.wantErr("close", a.Close(), net.ErrClosed)
		time.Sleep(2 * lingerFor)
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.streams) + len(w.hosts[0].tcp.made) + len(w.hosts[1].tcp.made) + len(w.hosts[0].tcp.ports); n != 0 {
			t.Errorf("%d things are left of closed streams", n)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// The rate of a link is that of a stream that goes over it, less headers.
func TestStreamFillsItsLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(Link{Delay: 5 * time.Millisecond, Rate: 20_000_000})
		took := w.transfer(a, b, random(5_000_000))
		rate := 5_000_000 * 8 / took.Seconds()
		if share := rate / 20_000_000; share < 0.9 || share > 1460.0/1500 {
			t.Errorf("%.1f %% of the link's rate", share*100)
		}
	})
}

func TestDialErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{Delay: time.Second})
		for _, tt := range []struct {
			to   string
			want error
			took time.Duration
		}{
			{"1.0.0.2:80", syscall.ECONNREFUSED, 2 * time.Second},
			{"1.0.0.3:80", syscall.ETIMEDOUT, 127 * time.Second},
			{"[2001:db8::1]:80", syscall.ENETUNREACH, 0},
			{"1.0.0.2:0", syscall.EINVAL, 0},
		} {
			start := time.Now()
			_, err := a.DialTCP(context.Background(), addrPort(tt.to))
			w.wantErr(tt.to, err, tt.want)
			if took := time.Since(start).Round(time.Microsecond); took != tt.took {
				t.Errorf("%s: after %v, want %v", tt.to, took, tt.took)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := a.DialTCP(ctx, addrPort("1.0.0.3:80"))
		w.wantErr("a deadline", err, context.DeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		for _, name := range []string{"b:80", "1.0.0.2", "1.0.0.2:http"} {
			var dns *net.DNSError
			if _, err := a.DialContext(ctx, "tcp", name); !errors.As(err, &dns) {
				t.Errorf("%q: %v", name, err)
			}
		}
		w.wantErr("udp", second(a.DialContext(ctx, "udp", "1.0.0.2:80")), net.UnknownNetworkError("udp"))
		l := w.listenTCP(b, "0.0.0.0:80")
		w.wantErr("twice", second(b.ListenTCP(addrPort("1.0.0.2:80"))), syscall.EADDRINUSE)
		w.wantErr("elsewhere", second(b.ListenTCP(addrPort("1.0.0.9:81"))), syscall.EADDRNOTAVAIL)
		time.AfterFunc(time.Second, func() { _ = l.Close() })
		w.wantErr("accept", second(l.Accept()), net.ErrClosed)
		w.wantErr("close", l.Close(), net.ErrClosed)
		w.listenTCP(b, "0.0.0.0:80")
	})
}

// net/http runs on it, both ends.
func TestStreamCarriesHTTP(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("home", "1.0.0.1", Presets["symmetric"])
		l := w.listenTCP(w.public("server", "2.0.0.1", Link{Delay: 10 * time.Millisecond}), "0.0.0.0:80")
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append(body, r.RemoteAddr[:8]...))
		})}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: h.DialContext}
		for range 3 {
			resp, err := (&http.Client{Transport: tr}).Post("http://2.0.0.1/", "", bytes.NewReader(random(100_000)))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Equal(b, append(random(100_000), "1.0.0.1:"...)) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		}
		tr.CloseIdleConnections()
		_ = srv.Close()
		synctest.Wait()
	})
}

func TestStreamDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(Link{Delay: time.Millisecond})
		start := time.Now()
		_ = a.SetDeadline(start.Add(time.Second))
		w.wantErr("read", second(a.Read(make([]byte, 1))), os.ErrDeadlineExceeded)
		n, err := a.Write(nil)
		w.wantErr("write", err, os.ErrDeadlineExceeded)
		if n != 0 || time.Since(start) != time.Second {
			t.Errorf("%d bytes, after %v", n, time.Since(start))
		}
		_ = a.SetDeadline(time.Time{})

		// As nobody reads, a write ends with both buffers full, and no byte more.
		_ = a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err = a.Write(random(1 << 20))
		w.wantErr("write", err, os.ErrDeadlineExceeded)
		if n != 2*tcpWindow {
			t.Errorf("%d bytes wait, want %d", n, 2*tcpWindow)
		}
		_ = a.SetWriteDeadline(time.Time{})
		_ = a.CloseWrite()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, random(1 << 20)[:n]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
