package portmap

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestWrongAnswers(t *testing.T) {
	set := func(at int, to ...byte) func([]byte) []byte {
		return func(b []byte) []byte {
			if len(b) > 16 && len(b) < at+len(to) || len(b) == 12 && at >= 8 {
				return b
			}
			b = slices.Clone(b)
			if at+len(to) <= len(b) {
				copy(b[at:], to)
			}
			return b
		}
	}
	loopback := netip.MustParseAddr("127.0.0.1").As16()
	tests := []struct {
		name  string
		pcp   bool
		spoil func([]byte) []byte
	}{
		{"PCP nonce", true, set(24, 1, 2, 3, 4)},
		{"PCP port", true, set(40, 0, 7)},
		{"PCP protocol", true, set(36, 6)},
		{"PCP loopback", true, set(44, loopback[:]...)},
		{"PCP nowhere", true, set(44, make([]byte, 16)...)},
		{"PCP multicast", true, set(56, 239)},
		{"PCP external port 0", true, set(42, 0, 0)},
		{"PCP no lifetime", true, set(4, 0, 0, 0, 0)},
		{"PCP short", true, func(b []byte) []byte { return b[:min(len(b), 32)] }},
		{"NAT-PMP port", false, set(8, 0, 7)},
		{"NAT-PMP external port 0", false, set(10, 0, 0)},
		{"NAT-PMP no lifetime", false, set(12, 0, 0, 0, 0)},
		{"NAT-PMP short", false, func(b []byte) []byte { return b[:3] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inHome(t, func(h *home) {
				h.router(gateway1, func(r *fakeRouter) { r.pcp, r.pmp, r.spoil = tt.pcp, !tt.pcp, tt.spoil })
				c, stop := h.start(nil)
				defer stop()
				wait(12 * time.Second)
				h.wantState(c, Tried, 0)
			})
		})
	}
}

// Somebody else in the home answers instead of the router.
func TestAnswersOfOthers(t *testing.T) {
	inHome(t, func(h *home) {
		r := h.router(gateway1, nil)
		liar := h.router(gateway2, nil)
		h.routers = h.routers[:1]
		at, err := liar.host.ListenUDP(netip.MustParseAddrPort("0.0.0.0:777"))
		if err != nil {
			t.Fatal(err)
		}
		defer liar.close()
		defer at.Close()
		for port := range uint16(64) { // our sockets have one of these
			_, _ = at.WriteToUDPAddrPort([]byte{0, 128, 0, 0, 0, 0, 0, 1, 20, 0, 113, 9}, netip.AddrPortFrom(ours, 49152+port))
		}
		c, stop := h.start(nil)
		defer stop()
		wait(6 * time.Second)
		h.wantState(c, Tried, 0)
		if n := len(r.requests); n != 0 {
			t.Errorf("%d requests were understood", n)
		}
	})
}

// A router whose clock jumps makes no storm of requests.
func TestEpochJumps(t *testing.T) {
	inHome(t, func(h *home) {
		jump := byte(0)
		r := h.router(gateway1, func(r *fakeRouter) {
			r.pcp = true
			r.spoil = func(b []byte) []byte { jump += 101; b[8] = jump; return b }
		})
		_, stop := h.start(func(o *Options) { o.Verify = nil })
		defer stop()
		wait(time.Hour)
		if n := r.asked("pcp map"); n > 250 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}
