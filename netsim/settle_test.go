package netsim

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// inTurns runs a test in virtual time in a network in which timers go before turns.
func inTurns(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{New(Config{Seed: 1, Wait: synctest.Wait}), t}
		t.Cleanup(w.close)
		f(t, w)
	})
}

// Loops that ask at one instant take turns by host, socket and number, and each has
// an instant of its own.
func TestTurnsAreOrdered(t *testing.T) {
	for range 20 {
		inTurns(t, func(t *testing.T, w *world) {
			ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
			var loops []func()
			for _, c := range []*Conn{w.listen(ha, 2), w.listen(ha, 10), w.listen(hb, 1)} {
				s := c.Settled()
				loops = append(loops, s.Settler(), s.Settler())
			}
			start := time.Now()
			turns := make(chan string, 100)
			for i, settle := range loops {
				go func() {
					time.Sleep(time.Millisecond)
					for range 2 {
						settle()
						turns <- fmt.Sprint(i, "@", time.Since(start)-time.Millisecond)
					}
				}()
			}
			time.Sleep(time.Second)
			var got []string
			for len(turns) > 0 {
				got = append(got, <-turns)
			}
			want := []string{ // the first one asks again while others still wait
				"0@1ns", "1@3ns", "2@5ns", "3@7ns", "4@9ns", "5@11ns",
				"0@13ns", "1@15ns", "2@17ns", "3@19ns", "4@21ns", "5@23ns",
			}
			if !slices.Equal(got, want) {
				t.Fatalf("turns %v, want %v", got, want)
			}
		})
	}
}

// What a timer of the program does at the instant of a turn is done before it.
func TestTimersGoBeforeTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for i := range 200 {
		runtime.GOMAXPROCS(1 + i%4)
		inTurns(t, func(t *testing.T, w *world) {
			settle := w.listen(w.public("a", "1.0.0.1", Link{}), 1).Settled().Settler()
			done := make(chan bool, 9)
			for range 9 {
				time.AfterFunc(time.Second+1, func() { done <- true })
			}
			time.Sleep(time.Second)
			settle()
			if len(done) != 9 {
				t.Fatalf("run %d: %d of 9 timers fired before the turn", i, len(done))
			}
		})
	}
}

// Packets come between turns.
func TestPacketsComeBetweenTurns(t *testing.T) {
	inTurns(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{Jitter: 100})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		b.Settled()
		start := time.Now()
		for range 50 {
			time.Sleep(time.Microsecond)
			w.send(a, "1.0.0.2:2", "x")
			w.wantPacket(b, "x")
			if at := time.Since(start); at%2 != 0 {
				t.Fatalf("a packet comes at %d", at)
			}
		}
	})
}

// program is one of several loops that share a socket and a state: each adds its
// number to what comes for all, and passes it on.
type program struct {
	host  int
	conn  SettledConn
	inbox []chan byte
	state []byte
}

func (p *program) read() {
	buf := make([]byte, 100)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			for _, c := range p.inbox {
				close(c)
			}
			return
		}
		for _, c := range p.inbox {
			c <- buf[n-1]
		}
	}
}

func (p *program) loop(i int) {
	settle, inbox := p.conn.Settler(), p.inbox[i]
	go func() {
		for b := range inbox {
			settle()
			p.state = append(p.state[:min(len(p.state), 20)], b+byte(i))
			to := (p.host + 1 + int(p.state[0])%3) % 4 // three packets for one that comes, of which a quarter arrive
			_, _ = p.conn.WriteToUDPAddrPort(p.state, addrPort(fmt.Sprintf("1.0.0.%d:1", to+1)))
			p.state[0] += b
		}
	}()
}

// Loops without a lock, which share what they write, have one outcome: no two of them
// run at an instant.
func TestTurnsMakeOneOutcome(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want uint64
	for i := range 20 {
		runtime.GOMAXPROCS(1 + i%4)
		inTurns(t, func(t *testing.T, w *world) {
			var first *Conn
			for h := range 4 {
				c := w.listen(w.public(fmt.Sprint(h), fmt.Sprintf("1.0.0.%d", h+1), Link{Delay: time.Millisecond, Loss: 0.5}), 1)
				if h == 0 {
					first = c
				}
				p := &program{host: h, conn: c.Settled()}
				for i := range 3 {
					p.inbox = append(p.inbox, make(chan byte, 10_000))
					p.loop(i)
				}
				go p.read()
			}
			for range 100 {
				w.send(first, "1.0.0.2:1", "begin")
				time.Sleep(10 * time.Millisecond)
			}
			if s := w.Stats(); s.Delivered < 50 {
				t.Fatalf("not much happened: %+v", s)
			}
			if got := w.Digest(); i == 0 {
				want = got
			} else if got != want {
				t.Fatalf("run %d: digest %x, before it was %x", i, got, want)
			}
			w.close()
		})
	}
}
