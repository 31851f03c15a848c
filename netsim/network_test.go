package netsim

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestRealTime(t *testing.T) {
	w := newWorld(t, 1)
	a := w.listen(w.public("a", "1.0.0.1", Link{Delay: 5 * time.Millisecond}), 1)
	b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
	start := time.Now()
	w.send(a, "1.0.0.2:2", "hi")
	w.wantPacket(b, "hi")
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("took %v, less than the link's delay", took)
	}
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{Delay: time.Hour})
		a := w.listen(h, 1)
		w.send(a, "1.0.0.2:1", "under way")
		time.Sleep(time.Second)
		w.send(a, "1.0.0.2:1", "just written")
		errc := make(chan error)
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 1))
			errc <- err
		}()
		synctest.Wait()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := <-errc; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read that waited: %v", err)
		}
		w.wantDrops(DropClosed, 2)
		if _, err := a.WriteToUDPAddrPort([]byte("x"), addrPort("1.0.0.2:1")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write afterwards: %v", err)
		}
		if _, err := h.ListenUDP(netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket afterwards: %v", err)
		}
		h.SetLink(Link{}, Link{}) // does nothing, and does not hang
		w.Partition(h, h)
	})
}

// An hour of keepalives costs what its packets cost, not what its time costs.
func TestAnHourIsShort(t *testing.T) {
	start := time.Now()
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{Timeout: 30 * time.Second})
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		for range 180 {
			w.send(a, "2.0.0.1:1", "alive")
			w.wantPacket(s, "alive")
			time.Sleep(20 * time.Second)
		}
	})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("an hour takes %v", took)
	}
}
