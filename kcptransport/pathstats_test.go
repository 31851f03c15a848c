package kcptransport

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// What a link counts is the sum of what its paths count, each loss where the segment was sent, although the peer moves in
// the middle of a transfer.
func TestPathStats(t *testing.T) {
	const rtt = 50 * time.Millisecond
	inWorld(t, rtt, func(w *world) {
		w.link = netsim.Link{Delay: rtt / 4, Rate: 20_000_000}
		_, b, l, m := w.pair()
		tr := w.startTransfer(l, m, 4<<20)
		w.sleep(time.Second)
		before, _ := l.Path()
		old := b.addr()
		b.host.SetAddrs(nodeAddr(2, 1))
		moved := time.Now()
		w.wantPath(l, b.addr(), time.Second)
		tr.wait()
		w.sleep(200 * time.Millisecond)
		paths, stats := l.Paths(), l.Stats()
		if len(paths) != 2 || paths[1].Path.Addr != old || paths[1].State != PathSuspect {
			w.Fatalf("paths %+v, want the new one and the old one", paths)
		}
		var sum PathCounts
		for _, i := range paths {
			sum.PacketsSent += i.PacketsSent
			sum.PacketsReceived += i.PacketsReceived
			sum.BytesSent += i.BytesSent
			sum.BytesReceived += i.BytesReceived
			sum.PacketsLost += i.PacketsLost
			if i.MinRTT < rtt || i.RTT < i.MinRTT || i.RTTVar <= 0 || i.RTT > 4*rtt {
				w.Errorf("round trip of %v: %v ± %v, min %v", i.Path, i.RTT, i.RTTVar, i.MinRTT)
			}
			if mbit := i.DeliveryRate * 8 / 1e6; mbit < 15 || mbit > 25 {
				w.Errorf("%v delivers %.1f Mbit/s, want about 20", i.Path, mbit)
			}
		}
		const behind = 5 // packets of the last 100 ms, small ones but for a probe or its answer
		for _, c := range [][3]uint64{
			{stats.PacketsSent, sum.PacketsSent, behind}, {stats.PacketsReceived, sum.PacketsReceived, behind},
			{stats.BytesSent, sum.BytesSent, 1232 + 100*behind}, {stats.BytesReceived, sum.BytesReceived, 1232 + 100*behind},
			{stats.PacketsLost, sum.PacketsLost, 0},
		} {
			if link, paths, most := c[0], c[1], c[2]; paths > link || paths+most < link {
				w.Errorf("the paths count %+v, the link %+v", sum, stats)
			}
		}
		if n := paths[1].PacketsLost - before.PacketsLost; n < 50 { // some 100 fill the path
			w.Errorf("%d packets lost on the old path when the peer left it", n)
		}
		if n := paths[0].PacketsLost; n != 0 {
			w.Errorf("%d packets lost on the new path, which loses none", n)
		}
		if heard := paths[1].LastHeard; heard.After(moved.Add(rtt)) {
			w.Errorf("the old path was last heard %v after the move", heard.Sub(moved))
		}
		if time.Since(paths[0].LastHeard) > time.Second {
			w.Errorf("the new path was last heard %v ago", time.Since(paths[0].LastHeard))
		}
		if paths[0].Reason != ReasonAnswered || paths[1].Reason != ReasonSilence && paths[1].Reason != ReasonMoved {
			w.Errorf("reasons %q and %q", paths[0].Reason, paths[1].Reason)
		}
	})
}
