package relaymesh

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// rows notes which labels leave a switch one after the other, and whether the packets of each are in order.
type rows struct {
	t      *testing.T
	s      *Switch
	writes [][]uint32 // labels of each row, by call
	next   map[uint32]byte
}

// newRows makes a switch with circuits, of which circuit i leaves with label i+1.
func newRows(t *testing.T, circuits int, l Limits) (r *rows, conns []*Connection) {
	t.Helper()
	r = &rows{t: t, next: map[uint32]byte{}}
	c := newCrossing(t, SwitchConfig{})
	c.s.cfg.Write = r.write
	r.s = c.s
	for i := range circuits {
		conn, _ := c.connect(2, 10+i, l)
		conns = append(conns, conn)
	}
	return r, conns
}

func (r *rows) write(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	var labels []uint32
	for i, b := range bufs {
		label := binary.BigEndian.Uint32(b[1:])
		labels = append(labels, label)
		if want := testNeighbor(peerNumber(9 + int(label))).Addr(); addrs[i] != want {
			r.t.Errorf("a packet of circuit %d went to %v, want %v", label, addrs[i], want)
		}
		if b[relayPrefix] != r.next[label] {
			r.t.Errorf("packet %d of circuit %d left instead of %d", b[relayPrefix], label, r.next[label])
		}
		r.next[label] = b[relayPrefix] + 1
	}
	r.writes = append(r.writes, slices.Compact(labels))
	return len(bufs), nil
}

// turns sends packets of circuits in turns, numbered for each.
func (r *rows) turns(conns []*Connection, rounds int) {
	var packets [][]byte
	var from []netip.AddrPort
	for n := range rounds {
		for _, conn := range conns {
			p := append(packetFor(conn.LabelFor(SideA), ""), make([]byte, 1000)...)
			p[relayPrefix] = byte(n)
			packets, from = append(packets, p), append(from, conn.entries[SideA].from.Addr())
		}
	}
	r.s.Forward(packets, from)
}

// Packets of several circuits in turns leave as one row for each, in their order: those that pass at once, and those that waited.
func TestSwitchRows(t *testing.T) {
	for _, tc := range []struct {
		name string
		l    Limits
		want [][]uint32
	}{
		{"at once", Limits{}, [][]uint32{{1, 2, 3, 4}, {1, 2, 3, 4}}},
		// The bucket of each lets 16 pass. The others wait.
		{"waited", Limits{BytesPerSecond: 1e6}, [][]uint32{{1, 2, 3, 4}, {1, 2, 3, 4}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, conns := newRows(t, 4, tc.l)
			r.turns(conns, 20)
			time.Sleep(10 * time.Millisecond)
			r.s.drain(&departure{})
			if !slices.EqualFunc(r.writes, tc.want, slices.Equal[[]uint32]) {
				t.Errorf("%s: rows of circuits %v, want %v", tc.name, r.writes, tc.want)
			}
			for label, n := range r.next {
				if n != 20 {
					t.Errorf("%s: %d packets of circuit %d left", tc.name, n, label)
				}
			}
		})
	}
}
