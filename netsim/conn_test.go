package netsim

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		c := w.listen(h, 7)
		wantErr := func(what string, err, want error) {
			t.Helper()
			var op *net.OpError
			if !errors.Is(err, want) || !errors.As(err, &op) {
				t.Errorf("%s: got %v, want %v in a *net.OpError", what, err, want)
			}
		}
		_, err := h.ListenUDP(addrPort("1.0.0.1:7"))
		wantErr("port taken by the wildcard", err, syscall.EADDRINUSE)
		_, err = h.ListenUDP(addrPort("9.9.9.9:8"))
		wantErr("address of another", err, syscall.EADDRNOTAVAIL)
		_, err = c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1})
		wantErr("no IPv6 address", err, syscall.ENETUNREACH)
		_, err = c.WriteToUDPAddrPort(make([]byte, 70000), addrPort("1.0.0.2:1"))
		wantErr("too large", err, syscall.EMSGSIZE)

		start := time.Now()
		_ = c.SetReadDeadline(start.Add(time.Minute))
		_, _, err = c.ReadFrom(make([]byte, 1))
		wantErr("deadline", err, os.ErrDeadlineExceeded)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = c.SetDeadline(time.Time{})
		errc := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			errc <- err
		}()
		synctest.Wait()
		_ = c.Close()
		wantErr("close", <-errc, net.ErrClosed)
		_, err = c.WriteToUDPAddrPort([]byte("x"), addrPort("1.0.0.2:1"))
		wantErr("write after close", err, net.ErrClosed)
		if again := w.listen(h, 7); again == nil {
			t.Error("the port was not given back")
		}
	})
}

func TestTruncationAndWildcards(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.NewHost("a", w.Internet(), Link{}, addr("1.0.0.1"), addr("1.0.0.2"))
		one, err := h.ListenUDP(addrPort("1.0.0.2:7"))
		if err != nil {
			t.Fatal(err)
		}
		b := w.listen(w.public("b", "1.0.0.3", Link{}), 0)
		w.send(b, "1.0.0.2:7", "long text")
		short := make([]byte, 4)
		if n, _, err := one.ReadFromUDPAddrPort(short); n != 4 || err != nil || string(short) != "long" {
			t.Errorf("got %q, %d, %v", short, n, err)
		}
		w.send(b, "1.0.0.1:7", "nobody")
		w.wantNothing(one)
		w.wantDrops(DropNoSocket, 1)
	})
}

func TestBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		to := addrPort("1.0.0.2:2")
		bad := addrPort("[2001:db8::1]:2")
		n, err := a.WriteBatch([][]byte{[]byte("one"), []byte("no"), []byte("two")}, []netip.AddrPort{to, bad, to})
		if n != 2 || !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sent %d, %v", n, err)
		}
		bufs := [][]byte{make([]byte, 9), make([]byte, 9), make([]byte, 9)}
		sizes, addrs := make([]int, 3), make([]netip.AddrPort, 3)
		n, err = b.ReadBatch(bufs, sizes, addrs)
		if n != 2 || err != nil || string(bufs[0][:sizes[0]])+string(bufs[1][:sizes[1]]) != "onetwo" {
			t.Errorf("read %d %q %v, %v", n, bufs, sizes, err)
		}
	})
}

func TestReceiveBufferIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{MTU: 65535}), 1)
		b := w.public("b", "1.0.0.2", Link{MTU: 65535})
		w.listen(b, 2)
		for range receiveBuffer/50000 + 10 {
			w.send(a, "1.0.0.2:2", string(make([]byte, 50000)))
		}
		time.Sleep(time.Second)
		if w.Stats().Dropped[DropBuffer] == 0 {
			t.Error("the buffer has no end")
		}
	})
}

// Headers count, so that empty datagrams do not wait without limit.
func TestEmptyDatagramsFillTheBuffer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		_ = b.SetReadBuffer(10 * headers4)
		for range 15 {
			w.send(a, "1.0.0.2:2", "")
		}
		time.Sleep(time.Millisecond)
		w.wantDrops(DropBuffer, 5)
		for range 10 {
			w.wantPacket(b, "")
		}
		w.wantNothing(b)
	})
}

func TestTimeToLive(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		to := addrPort("1.0.0.1:1")
		for ttl, want := range map[int]error{-1: syscall.EINVAL, 0: nil, 1: nil, 255: nil, 256: syscall.EINVAL} {
			if err := a.WriteTTL([]byte("x"), to, ttl); !errors.Is(err, want) {
				t.Errorf("TTL %d: %v, want %v", ttl, err, want)
			}
		}
		for range 3 {
			w.wantPacket(a, "x")
		}
	})
}

func TestImpossibleDestinations(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.NewHost("a", w.Internet(), Link{}, addr("1.0.0.1"), addr("2001:db8::1"))
		for _, tt := range []struct {
			from, to string
			want     error
		}{
			{"[::]:1", "1.0.0.2:0", syscall.EINVAL},
			{"[::]:1", "0.0.0.0:1", syscall.EINVAL},
			{"0.0.0.0:1", "[2001:db8::2]:1", syscall.EAFNOSUPPORT},
			{"1.0.0.1:1", "[2001:db8::2]:1", syscall.EAFNOSUPPORT},
			{"[2001:db8::1]:1", "1.0.0.2:1", syscall.EAFNOSUPPORT},
			{"[2001:db8::1]:1", "[2001:db8::2]:1", nil},
			{"[::]:1", "[::ffff:1.0.0.2]:1", nil},
		} {
			c := w.bind(h, addrPort(tt.from))
			if _, err := c.WriteToUDPAddrPort([]byte("x"), addrPort(tt.to)); !errors.Is(err, tt.want) {
				t.Errorf("from %s to %s: %v, want %v", tt.from, tt.to, err, tt.want)
			}
			_ = c.Close()
		}
		c := w.listen(h, 1)
		if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPort{}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("to nowhere: %v", err)
		}
		if _, err := c.WriteTo([]byte("x"), &net.TCPAddr{}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("to an address of TCP: %v", err)
		}
		if n, err := c.ReadBatch(nil, nil, nil); n != 0 || err != nil {
			t.Errorf("read %d into no buffers, %v", n, err)
		}
	})
}

// Everything at once from everywhere, in real time, for the race detector.
func TestConnIsForManyGoroutines(t *testing.T) {
	w := newWorld(t, 1)
	h := w.public("a", "1.0.0.1", Link{Jitter: time.Millisecond})
	a := w.listen(h, 1)
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			bufs, sizes, addrs := [][]byte{make([]byte, 9), make([]byte, 9)}, make([]int, 2), make([]netip.AddrPort, 2)
			for {
				if _, err := a.ReadBatch(bufs, sizes, addrs); errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
	}
	for i := range 4 {
		writers.Go(func() {
			for range 200 {
				w.send(a, "1.0.0.1:1", "x")
				_ = a.SetReadDeadline(time.Now().Add(time.Millisecond))
				w.send(w.listen(h, 0), "1.0.0.1:1", "y")
				h.SetLink(Link{Jitter: time.Duration(i)}, Link{})
				w.Stats()
				w.Digest()
			}
		})
	}
	writers.Wait()
	_ = a.Close()
	readers.Wait()
}
