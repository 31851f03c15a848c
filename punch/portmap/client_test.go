package portmap

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBelievedAndRemoved(t *testing.T) {
	for _, p := range []Protocol{PCP, NATPMP} {
		t.Run(p.String(), func(t *testing.T) {
			inHome(t, func(h *home) {
				r := h.router(gateway1, func(r *fakeRouter) { r.pcp, r.pmp = p == PCP, p == NATPMP })
				c, stop := h.start(nil)
				wait(2 * time.Second)
				m := h.wantState(c, Believed, p)
				if m.External != netip.AddrPortFrom(wan, ourPort+1) || m.Double != NotDouble || m.Gateway != gateway1 {
					t.Errorf("%+v", m)
				}
				if s := h.changes; len(s) != 2 || s[0].State != Made || s[1].State != Believed {
					t.Errorf("states %v, want made, believed", s)
				}
				stop()
				if left := r.ports(); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

func TestPrefersPCP(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pcp, r.pmp = true, true })
		c, stop := h.start(nil)
		defer stop()
		wait(2 * time.Second)
		h.wantState(c, Believed, PCP)
		if r.asked("pmp map")+r.asked("pmp remove") > 0 {
			t.Errorf("the loser changed something: %v", r.requests)
		}
	})
}

func TestFirstAnswerAfterGraceWins(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, nil) // silent
		h.router(gateway2, func(r *fakeRouter) { r.pmp = true })
		c, stop := h.start(nil)
		defer stop()
		wait(300 * time.Millisecond)
		h.wantState(c, Believed, NATPMP)
	})
}

func TestNextWayWhenRefused(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, func(r *fakeRouter) { r.pcp, r.result = true, 2 })
		h.router(gateway2, func(r *fakeRouter) { r.pmp = true })
		c, stop := h.start(nil)
		defer stop()
		wait(2 * time.Second)
		if m := h.wantState(c, Believed, NATPMP); m.Gateway != gateway2 {
			t.Errorf("%+v", m)
		}
	})
}

func TestRefused(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, func(r *fakeRouter) { r.pmp, r.result = true, 2 })
		c, stop := h.start(nil)
		defer stop()
		wait(6 * time.Second)
		if m := h.wantState(c, Tried, 0); !strings.Contains(m.Reason, "turned off") {
			t.Errorf("reason %q", m.Reason)
		}
		s := c.Status()
		if len(s.Attempts) != 3 || !errors.Is(s.Attempts[0].Err, errPMPOnly) || s.Attempts[1].Err != nil || !s.Searched {
			t.Errorf("%v", s.Attempts)
		}
	})
}

func TestRenewedAtHalfTime(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pcp, r.lifetime = true, 1000*time.Second })
		c, stop := h.start(nil)
		defer stop()
		wait(499 * time.Second)
		if n := r.asked("pcp map"); n != 1 {
			t.Errorf("%d requests before half time", n)
		}
		wait(127 * time.Second)
		if n := r.asked("pcp map"); n != 2 {
			t.Errorf("%d requests at 5/8", n)
		}
		if m := h.wantState(c, Believed, PCP); time.Until(m.Expires) < 800*time.Second {
			t.Errorf("expires in %v", time.Until(m.Expires))
		}
	})
}

// The gateway keeps the rules, but no longer answers.
func TestExpires(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pmp, r.lifetime = true, 100*time.Second })
		c, stop := h.start(nil)
		defer stop()
		wait(10 * time.Second)
		r.change(func() { r.silent = true })
		wait(80 * time.Second)
		h.wantState(c, Believed, NATPMP)
		wait(40 * time.Second)
		if m := c.Mapping(); m.State == Believed || m.State == Made {
			t.Errorf("%+v after it expired", m)
		}
		r.change(func() { r.silent = false })
		wait(45 * time.Second)
		h.wantState(c, Believed, NATPMP)
	})
}

func TestRestartOfTheRouter(t *testing.T) {
	for _, p := range []Protocol{PCP, NATPMP} {
		t.Run(p.String(), func(t *testing.T) {
			inHome(t, func(h *home) {
				r := h.router(gateway1, func(r *fakeRouter) { r.pcp, r.pmp = p == PCP, p == NATPMP })
				c, stop := h.start(func(o *Options) { o.Verify = nil })
				defer stop()
				wait(100 * time.Second)
				h.wantState(c, Made, p)
				r.change(func() { r.silent = true })
				wait(20 * time.Second)
				r.restart()
				r.change(func() { r.silent = false })
				wait(time.Minute)
				h.wantState(c, Made, p)
				if len(r.ports()) != 1 {
					t.Error("it was not made anew within 60 s")
				}
			})
		})
	}
}

// A router that says yes and does nothing is not believed, and not asked without end.
func TestNobodyGetsThrough(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pcp = true })
		h.reachable = func(string) error { return errors.New("no knock") }
		c, stop := h.start(nil)
		defer stop()
		wait(time.Hour)
		if m := h.wantState(c, Dead, PCP); !strings.Contains(m.Reason, "no knock") || m.Useful() {
			t.Errorf("%+v", m)
		}
		if n := r.asked("pcp map"); n < 5 || n > 20 || n != r.asked("pcp remove") {
			t.Errorf("asked %d times in an hour, removed %d times", n, r.asked("pcp remove"))
		}
	})
}

// The protocol whose mapping let nobody through is the last to be tried again.
func TestOtherProtocolAfterDeath(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, func(r *fakeRouter) { r.pcp, r.pmp = true, true })
		dead := true
		h.reachable = func(string) error {
			if dead {
				return errors.New("no knock")
			}
			return nil
		}
		c, stop := h.start(nil)
		defer stop()
		wait(4 * time.Second)
		h.wantState(c, Dead, PCP)
		h.mu.Lock()
		dead = false
		h.mu.Unlock()
		wait(10 * time.Second)
		h.wantState(c, Believed, NATPMP)
	})
}

func TestDiesAndComesBackWithinAMinute(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pcp = true })
		h.reachable = func(string) error {
			if len(r.ports()) == 0 {
				return errors.New("no knock")
			}
			return nil
		}
		c, stop := h.start(nil)
		defer stop()
		wait(10*time.Minute + 10*time.Second)
		r.change(func() { clear(r.mapped) }) // without a word
		wait(time.Minute)
		h.wantState(c, Believed, PCP)
		if len(r.ports()) != 1 {
			t.Error("nothing is mapped")
		}
		if !slices.ContainsFunc(h.changes, func(m Mapping) bool { return m.State == Dead }) {
			t.Errorf("never dead: %v", h.changes)
		}
	})
}

func TestNobodyToAsk(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, func(r *fakeRouter) { r.pcp = true })
		c, stop := h.start(func(o *Options) { o.Verify = nil })
		defer stop()
		wait(10 * time.Minute)
		if m := h.wantState(c, Made, PCP); !m.Useful() || len(c.Mappings()) != 1 {
			t.Errorf("%+v", m)
		}
	})
}

func TestChangedNetwork(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, func(r *fakeRouter) { r.pcp = true })
		c, stop := h.start(nil)
		defer stop()
		wait(time.Minute)
		h.routers = nil
		other := h.router(gateway2, func(r *fakeRouter) { r.pmp = true })
		c.Changed()
		wait(3 * time.Second)
		if m := h.wantState(c, Believed, NATPMP); m.Gateway != other.addr || len(r.ports()) != 0 {
			t.Errorf("%+v, at the old router: %v", m, r.ports())
		}
		h.routers = append(h.routers, r)
	})
}

func TestDoubleNAT(t *testing.T) {
	inHome(t, func(h *home) {
		h.router(gateway1, func(r *fakeRouter) { r.pcp, r.wan = true, netip.MustParseAddr("100.64.3.4") })
		c, stop := h.start(func(o *Options) { o.Verify = nil })
		wait(6 * time.Second)
		if m := h.wantState(c, Made, PCP); m.Double != DoublePrivate || m.Useful() {
			t.Errorf("%+v", m)
		}
		better := h.router(gateway2, func(r *fakeRouter) { r.pmp = true })
		c.Changed()
		wait(6 * time.Second)
		if m := h.wantState(c, Made, NATPMP); m.Gateway != better.addr || len(h.routers[0].ports()) != 0 {
			t.Errorf("%+v; at the router behind a NAT: %v", m, h.routers[0].ports())
		}
		stop()
	})
}

func TestNoGateway(t *testing.T) {
	inHome(t, func(h *home) {
		h.unusable = errors.New("no /proc here")
		c, stop := h.start(nil)
		defer stop()
		wait(time.Second)
		if s := c.Status(); s.Err == nil || !s.Searched {
			t.Errorf("%+v", s)
		}
	})
}
