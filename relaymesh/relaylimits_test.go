package relaymesh

import (
	"testing"
	"testing/synctest"
	"time"
)

// Before a circuit reaches a limit it is said to be ending, once: with a quarter of its bytes or its time left, half a minute at most.
func TestSwitchWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{})
		start := time.Now()
		for lasts, warned := range map[time.Duration]time.Duration{40 * time.Second: 30 * time.Second, time.Hour: time.Hour - 30*time.Second} {
			conn, _ := c.connect(2, 1, Limits{Duration: lasts})
			go func() {
				if <-conn.Ending(); time.Since(start) != warned || conn.Err() != nil {
					t.Errorf("of %v: warned after %v, %v", lasts, time.Since(start), conn.Err())
				}
			}()
		}
		both, got := c.connect(2, 1, Limits{Bytes: 8000, Duration: 24 * time.Hour})
		ending := func() bool {
			select {
			case <-both.Ending():
				return true
			default:
				return false
			}
		}
		c.send(both, 5900)
		if ending() {
			t.Error("warned too early")
		}
		if c.send(both, 1000); both.bucket.rate != 550 {
			t.Errorf("the rest of 1100 bytes goes at %v a second", both.bucket.rate)
		}
		if !ending() || both.Err() != nil {
			t.Errorf("after three quarters: %v, %v", ending(), both.Err())
		}
		c.send(both, 1000)
		if c.send(both, 1000); both.Err() == nil || got.bytes != 7900 {
			t.Errorf("%d bytes were carried, %v", got.bytes, both.Err())
		}
		closed, _ := c.connect(2, 1, Limits{Duration: time.Minute})
		closed.Close()
		time.Sleep(2 * time.Hour)
		select {
		case <-closed.Ending():
			t.Error("a circuit that was closed is said to be ending")
		default:
		}
	})
}

// Whichever relay of a row has the limit, both ends are asked to move before it is reached.
func TestLimitsAskBothEndsToMove(t *testing.T) {
	for limited := 1; limited <= 3; limited++ {
		synctest.Test(t, func(t *testing.T) {
			c := newChain(t, 3, func(cfg *RelayConfig) {
				if cfg.ID == peerNumber(1+limited) {
					cfg.Limits.Duration = time.Minute
				}
			})
			defer c.close()
			a, b := c.circuit()
			begun := time.Now()
			ended := make(chan error, 2)
			c.wg.Go(func() { ended <- a.Wait() })
			c.wg.Go(func() { ended <- b.Wait() })
			<-a.Moving()
			<-b.Moving()
			if d := time.Since(begun); d > 45*time.Second || d < 44*time.Second {
				t.Errorf("asked after %v", d)
			}
			wantRefused(t, <-ended, RefusedLimit)
			wantRefused(t, <-ended, RefusedLimit)
			if d := time.Since(begun); d > time.Minute || d < 59*time.Second {
				t.Errorf("ended after %v", d)
			}
		})
	}
}

// Limits that change count for circuits from then on and are told to those who renew; what was told before holds for what there is.
func TestRelayLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, nil)
		defer c.close()
		relay := c.relays[c.ids[1]]
		r, err := Reserve(c.ctx, c.ids[1], c.openerOf(c.target()))
		if err != nil {
			t.Fatal(err)
		}
		var renewed []Limits
		r.OnRenewed = func() { renewed = append(renewed, r.Limits) }
		c.wg.Go(func() { _ = r.Keep(c.ctx) })
		old, _ := c.circuit()
		l := Limits{BytesPerSecond: 1e5, Bytes: 1e7, Circuits: 2, Duration: 2 * time.Minute}
		relay.SetLimits(l)
		a, b := c.circuit()
		if old.Limits.Duration != 0 || a.Limits != l || b.Limits != l {
			t.Errorf("told %+v before, %+v and %+v now", old.Limits, a.Limits, b.Limits)
		}
		_, err = OpenCircuit(c.ctx, c.opener(), c.target(), 11)
		wantRefused(t, err, RefusedBusy)
		begun := time.Now()
		if wantRefused(t, a.Wait(), RefusedLimit); time.Since(begun) > l.Duration {
			t.Errorf("ended after %v", time.Since(begun))
		}
		time.Sleep(reservationTime)
		if n := relay.Stats().Circuits; n != 1 {
			t.Errorf("%d circuits, want the old one", n)
		}
		synctest.Wait()
		if len(renewed) == 0 || renewed[0] != l {
			t.Errorf("told at renewals: %+v", renewed)
		}
		old.Close()
	})
}
