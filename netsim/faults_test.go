package netsim

import (
	"testing"
	"time"
)

func TestPartition(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
		a, b := w.listen(ha, 1), w.listen(hb, 2)
		w.Partition(ha, hb)
		w.send(a, "1.0.0.2:2", "lost")
		w.wantNothing(b)
		w.Heal(hb, ha)
		w.send(a, "1.0.0.2:2", "found")
		w.wantPacket(b, "found")
	})
}

// A partition holds whatever the way, and for what is under way.
func TestPartitionThroughNAT(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{})
		hs := w.public("s", "2.0.0.1", Link{Delay: 100 * time.Millisecond})
		other := w.listen(w.public("other", "2.0.0.2", Link{}), 1)
		a, s := w.listen(h, 5000), w.listen(hs, 1)
		w.send(a, "2.0.0.1:1", "x")
		w.send(s, w.wantPacket(s, "x").String(), "under way")
		time.Sleep(50 * time.Millisecond)
		w.Partition(hs, h)
		w.wantNothing(a)
		w.send(a, "2.0.0.1:1", "lost")
		w.wantNothing(s)
		w.wantDrops(DropPartitioned, 2)
		w.send(other, "1.0.0.1:5000", "others get through")
		w.wantPacket(a, "others get through")
		w.Heal(h, hs)
		w.send(s, "1.0.0.1:5000", "again")
		w.wantPacket(a, "again")
	})
}

func TestPartitionOneWay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
		a, b := w.listen(ha, 1), w.listen(hb, 2)
		w.PartitionOneWay(ha, hb)
		w.send(a, "1.0.0.2:2", "lost")
		w.wantNothing(b)
		w.wantDrops(DropPartitioned, 1)
		w.send(b, "1.0.0.1:1", "back")
		w.wantPacket(a, "back")
		w.Heal(hb, ha)
		w.send(a, "1.0.0.2:2", "found")
		w.wantPacket(b, "found")
	})
}

func TestUnplug(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{Delay: 10 * time.Millisecond})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		w.send(a, "1.0.0.2:2", "under way")
		time.Sleep(time.Millisecond)
		ha.Unplug(100 * time.Millisecond)
		end := time.Now().Add(100 * time.Millisecond)
		w.wantPacket(b, "under way")
		w.send(a, "1.0.0.2:2", "up")
		w.send(b, "1.0.0.1:1", "down")
		time.Sleep(time.Until(end) - 1)
		w.wantDrops(DropLinkDown, 2)
		w.send(a, "1.0.0.2:2", "just too early") // enters the link a nanosecond later
		time.Sleep(time.Nanosecond)
		w.send(a, "1.0.0.2:2", "just in time")
		w.wantPacket(b, "just in time")
		w.wantDrops(DropLinkDown, 3)

		ha.Unplug(time.Hour)
		w.send(a, "1.0.0.2:2", "lost")
		w.wantNothing(b)
		ha.Unplug(0)
		w.send(b, "1.0.0.1:1", "plugged in")
		w.wantPacket(a, "plugged in")
	})
}

// A link that is down for the last 3 of every 10 ms.
func TestFlappingLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		flap := Link{DownEvery: 10 * time.Millisecond, DownFor: 3 * time.Millisecond}
		a := w.listen(w.public("a", "1.0.0.1", flap), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		got := ""
		for range 25 {
			before := w.Stats().Delivered
			w.send(a, "1.0.0.2:2", "x")
			time.Sleep(time.Millisecond)
			got += string('0' + byte(w.Stats().Delivered-before))
		}
		if want := "1111111000111111100011111"; got != want {
			t.Errorf("arrived: %s, want %s", got, want)
		}
		_ = b.Close()
	})
}

func TestReboot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{Ports: SequentialPorts})
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "before")
		before := w.wantPacket(s, "before")
		r.Reboot(5 * time.Second)
		_ = a.WriteTTL([]byte("lost on the inside"), addrPort("2.0.0.1:1"), 1) // the router does not see it
		w.send(s, before.String(), "lost on the outside")
		w.wantNothing(a)
		w.wantDrops(DropLinkDown, 2)
		time.Sleep(4 * time.Second)
		w.send(s, before.String(), "to nobody")
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		w.send(a, "2.0.0.1:1", "after")
		if after := w.wantPacket(s, "after"); after == before {
			t.Errorf("%v before and after", after)
		}
	})
}

// A provider gives another address: who comes to the old one reaches nobody, and what
// goes out comes from the new one.
func TestSetOutsideAddrs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{})
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		wantFrom := func(want string) {
			t.Helper()
			w.send(a, "2.0.0.1:1", "x")
			if got := w.wantPacket(s, "x").String(); got != want {
				t.Errorf("from %s, want %s", got, want)
			}
		}
		wantFrom("1.0.0.1:5000")
		r.SetOutsideAddrs(addr("1.0.0.9"), addr("1.0.0.8"))
		r.SetOutsideAddrs(addr("1.0.0.8")) // at the same instant
		w.send(s, "1.0.0.1:5000", "to the old one")
		w.send(s, "1.0.0.9:5000", "to the one in between")
		w.wantNothing(a)
		w.wantDrops(DropNoRoute, 2)
		w.send(s, "1.0.0.8:5000", "to the new one, which has no mapping yet")
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		wantFrom("1.0.0.8:5000")
		w.send(s, "1.0.0.8:5000", "back")
		w.wantPacket(a, "back")
		w.public("other", "1.0.0.1", Link{}) // the old one is free
		r.SetOutsideAddrs()
		w.send(a, "2.0.0.1:1", "from nowhere")
		w.wantNothing(s)
		w.wantDrops(DropNoPort, 1)
	})
}

func TestUnplugRouter(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{})
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "before")
		before := w.wantPacket(s, "before")
		r.Unplug(2 * time.Second)
		w.send(s, before.String(), "lost")
		w.wantNothing(a)
		time.Sleep(time.Second)
		w.send(s, before.String(), "the mapping is still there")
		w.wantPacket(a, "the mapping is still there")
	})
}
