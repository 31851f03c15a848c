package relaymesh

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// What leaves for where packets wait behind the socket is marked, whether it waited here or not, and nothing else is.
func TestSwitchMarksCongested(t *testing.T) {
	for _, tc := range []struct {
		name string
		l    Limits
	}{{"at once", Limits{}}, {"waited", Limits{BytesPerSecond: 1e6}}} {
		synctest.Test(t, func(t *testing.T) {
			full := testNeighbor(peerNumber(3)).Addr()
			c := newCrossing(t, SwitchConfig{Congested: func(to netip.AddrPort) bool { return to == full }})
			stop := c.run()
			defer stop()
			there, marked := c.connect(2, 3, tc.l)
			elsewhere, plain := c.connect(2, 4, tc.l)
			for range 30 {
				c.send(there, 100)
				c.send(elsewhere, 100)
				time.Sleep(time.Millisecond)
			}
			if marked.packets != 30 || marked.marked != 30 || plain.packets != 30 || plain.marked != 0 {
				t.Errorf("%s: %d of %d and %d of %d packets are marked", tc.name, marked.marked, marked.packets, plain.marked, plain.packets)
			}
			if s := c.s.Stats(); s.Marked != 30 {
				t.Errorf("%s: %d packets count as marked", tc.name, s.Marked)
			}
		})
	}
}

// Packets that are not written count as dropped, and not as carried on.
func TestSwitchUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{})
		conn, _ := c.connect(2, 3, Limits{})
		for _, tc := range []struct {
			n                          int
			err                        error
			packets, overflow, unready uint64
		}{
			{1, nil, 1, 0, 0},
			{0, nil, 1, 1, 0},
			{0, errors.New("no route"), 1, 1, 1},
		} {
			c.s.cfg.Write = func([][]byte, []netip.AddrPort) (int, error) { return tc.n, tc.err }
			c.send(conn, 100)
			if s := c.s.Stats(); s.Packets != tc.packets || s.Overflow != tc.overflow || s.Unready != tc.unready {
				t.Errorf("written %d, %v: %+v", tc.n, tc.err, s)
			}
		}
	})
}

// Who counts while packets are being written does not see the counter fall when that fails.
func TestSwitchCountersDoNotFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{})
		conn, _ := c.connect(2, 3, Limits{})
		var during uint64
		c.s.cfg.Write = func([][]byte, []netip.AddrPort) (int, error) {
			during = c.s.Stats().Packets
			return 0, errors.New("no route")
		}
		c.send(conn, 100)
		if after := c.s.Stats(); after.Packets < during || after.Unready != 1 {
			t.Errorf("%d packets, then %+v", during, after)
		}
	})
}
