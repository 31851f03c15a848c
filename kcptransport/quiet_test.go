package kcptransport

import (
	"net/netip"
	"testing"
	"time"
)

// A link that is told to be quiet sends nothing while its path fails, does not die meanwhile, and goes on afterwards. While
// its path works it takes no notice.
func TestQuiet(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		w.serveEcho(m)
		l.Quiet(time.Minute)
		w.wantEcho(l)
		w.net.Partition(a.host, b.host)
		s := w.open(l, "echo")
		_, _ = s.Write([]byte("held back"))
		_ = l.SendDatagram([]byte("too"))
		w.sleep(2 * time.Second)
		l.Quiet(45 * time.Second)
		m.Quiet(45 * time.Second)
		w.sleep(time.Millisecond)
		before := l.Stats().PacketsSent
		w.sleep(44 * time.Second)
		if n := l.Stats().PacketsSent - before; n != 0 || l.Err() != nil {
			w.Errorf("%d packets were sent meanwhile; %v", n, l.Err())
		}
		w.net.Heal(a.host, b.host)
		w.sleep(1500 * time.Millisecond)
		if n := l.Stats().PacketsSent - before; n == 0 {
			w.Error("nothing was sent afterwards")
		}
		got := make([]byte, 9)
		if _, err := s.Read(got); err != nil || string(got) != "held back" {
			w.Errorf("got %q, %v", got, err)
		}
	})
}

// Silence ends when the peer is heard, and when our network changes.
func TestQuietEnds(t *testing.T) {
	for name, end := range map[string]func(a *node, l, m *Link){
		"heard":   func(a *node, _, m *Link) { m.Probe(Path{Addr: a.addr()}, 0) },
		"changed": func(a *node, _, _ *Link) { a.NetworkChanged() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 40*time.Millisecond, func(w *world) {
				a, b, l, m := w.pair()
				w.sleep(time.Second)
				w.net.Partition(a.host, b.host)
				_ = l.SendDatagram([]byte("asks for an answer"))
				_ = m.SendDatagram([]byte("asks for an answer"))
				w.sleep(2 * time.Second)
				l.Quiet(time.Minute)
				m.Quiet(time.Minute)
				w.net.Heal(a.host, b.host)
				w.sleep(10 * time.Second)
				if info, _ := l.Path(); info.State != PathSuspect {
					w.Fatalf("the path is %v", info.State)
				}
				end(a, l, m)
				w.sleep(time.Second)
				if info, _ := l.Path(); info.State != PathValidated {
					w.Errorf("the path is %v", info.State)
				}
			})
		})
	}
}

// When the two sides of a link whose path fails meet again, both are told at the same time, and what is due on the old
// path waits for those who punch.
func TestOnMet(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		mets := make(chan time.Time, 8)
		onMet := func(c *Config) {
			c.OnMet = func(l *Link) {
				mets <- time.Now()
				l.Quiet(5 * time.Second)
			}
		}
		a, b := w.node(1, onMet), w.node(2, onMet)
		l := a.dial(b)
		m := b.accept()
		w.sleep(time.Second)
		w.net.Partition(a.host, b.host)
		_ = l.SendDatagram([]byte("asks for an answer")) // b has nothing to ask, and knows of no trouble
		w.sleep(2 * time.Second)
		began := time.Now()
		if _, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 50*time.Millisecond)}); err != nil {
			w.Fatal(err)
		}
		before := l.Stats().PacketsSent
		first, second := <-mets, <-mets
		if apart := second.Sub(first); apart > 60*time.Millisecond || first.Sub(began) > 150*time.Millisecond {
			w.Errorf("told after %v, and %v later", first.Sub(began), apart)
		}
		w.sleep(4 * time.Second)
		if n := l.Stats().PacketsSent - before; n > 1 { // what confirms the handshake, by way of the introducer
			w.Errorf("%d packets were sent meanwhile", n)
		}
		if info, _ := m.Path(); info.State != PathSuspect {
			w.Errorf("the peer's path is %v", info.State)
		}
		if len(mets) > 0 {
			w.Error("somebody was told twice")
		}
	})
}

// Who is silent because hole punching has failed is so no longer when there is a circuit.
func TestCircuitEndsQuiet(t *testing.T) {
	for _, direct := range []bool{false, true} {
		inWorld(t, 40*time.Millisecond, func(w *world) {
			a, b := w.node(1), w.node(2)
			r := w.relay(10)
			a.dial(r.node)
			b.dial(r.node)
			w.sleep(time.Second)
			var first [2]*Circuit
			if !direct {
				first[0], first[1] = w.circuit(a, b, r)
			}
			d := Dial{Peer: b.ID(), Signal: w.couriers(a, b, 20*time.Millisecond)}
			if direct {
				d.Addrs, d.Signal = []netip.AddrPort{b.addr()}, nil
			}
			l, err := a.Dial(w.ctx, d)
			if err != nil {
				w.Fatal(err)
			}
			m := b.accept()
			w.serveEcho(m)
			w.wantEcho(l)
			w.net.Partition(a.host, b.host)
			if direct {
				_, _ = l.SendDatagram([]byte("hello")), m.SendDatagram([]byte("hello"))
				w.sleep(2 * time.Second)
			} else {
				first[0].Close()
				first[1].Close()
			}
			l.Quiet(25 * time.Second)
			m.Quiet(25 * time.Second)
			w.sleep(2 * time.Second)
			start := time.Now()
			w.circuit(a, b, r)
			w.wantEcho(l)
			if took := time.Since(start); took > time.Second {
				w.Errorf("direct before: %v: it took %v", direct, took)
			}
		})
	}
}
