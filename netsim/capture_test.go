package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// line tells a packet for people: when, where, from whom to whom, and why not.
func (p pcapPacket) line(names []string, start time.Time) string {
	var src, dst netip.Addr
	header := 20
	if p.ip[0]>>4 == 6 {
		header = 40
		src, dst = netip.AddrFrom16([16]byte(p.ip[8:])), netip.AddrFrom16([16]byte(p.ip[24:]))
	} else {
		src, dst = netip.AddrFrom4([4]byte(p.ip[12:])), netip.AddrFrom4([4]byte(p.ip[16:]))
	}
	udp := p.ip[header:]
	port := func(i int) uint16 { return uint16(udp[i])<<8 | uint16(udp[i+1]) }
	way := map[byte]string{inbound: "in", outbound: "out"}[p.direction]
	s := fmt.Sprintf("%v %s %s: %v > %v %q", p.at.Sub(start), names[p.iface], way,
		netip.AddrPortFrom(src, port(0)), netip.AddrPortFrom(dst, port(2)), udp[8:])
	if p.comment != "" {
		s += " (" + p.comment + ")"
	}
	return s
}

func (f pcapFile) lines(start time.Time) (out []string) {
	for _, p := range f.packets {
		out = append(out, p.line(f.names, start))
	}
	return out
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s saw\n%q\nwant\n%q", what, got, want)
	}
}

// One story, seen at three places: each packet once for each interface that it
// passes, as it is there, with the reason where it ended.
func TestCapture(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		h, r := w.behind("home", "1.0.0.1", NAT{Ports: SequentialPorts, Filtering: AddressAndPortDependent})
		hs := w.public("s", "2.0.0.1", Link{Delay: 10 * time.Millisecond})
		a, s := w.listen(h, 5000), w.listen(hs, 1)
		var atHost, atRouter, atServer bytes.Buffer
		h.Capture(&atHost)
		r.Capture(&atRouter)
		hs.Capture(&atServer)

		w.send(a, "2.0.0.1:1", "hi")
		from := w.wantPacket(s, "hi").String()
		w.send(s, from, "ho")
		w.wantPacket(a, "ho")
		time.Sleep(time.Until(start.Add(time.Second)))
		w.send(w.listen(hs, 2), from, "who")
		w.send(a, "2.0.0.1:3", "no")
		time.Sleep(time.Second)
		hs.SetLink(Link{}, Link{Loss: 1})
		w.send(a, "2.0.0.1:1", "lost")
		time.Sleep(time.Second)
		h.SetLink(Link{MTU: 20}, Link{})
		w.send(a, "2.0.0.1:1", "big")
		time.Sleep(time.Second)
		hs.Capture(nil)
		w.send(s, from, "unseen")
		time.Sleep(time.Second)

		w.close()
		out := from // what the NAT gave
		wantLines(t, "the host", readPcapng(t, atHost.Bytes()).lines(start),
			`1ns home out: 192.168.1.2:5000 > 2.0.0.1:1 "hi"`,
			`22.000002ms home in: 2.0.0.1:1 > 192.168.1.2:5000 "ho"`,
			`1.000000001s home out: 192.168.1.2:5000 > 2.0.0.1:3 "no"`,
			`2.000000001s home out: 192.168.1.2:5000 > 2.0.0.1:1 "lost"`,
			`3.000000001s home out: 192.168.1.2:5000 > 2.0.0.1:1 "big" (dropped: mtu)`,
			`4.000000001s home in: 2.0.0.1:1 > 192.168.1.2:5000 "unseen"`,
		)
		wantLines(t, "the router", readPcapng(t, atRouter.Bytes()).lines(start),
			`1.000001ms home inside in: 192.168.1.2:5000 > 2.0.0.1:1 "hi"`,
			`1.000001ms home outside out: `+out+` > 2.0.0.1:1 "hi"`,
			`21.000002ms home outside in: 2.0.0.1:1 > `+out+` "ho"`,
			`21.000002ms home inside out: 2.0.0.1:1 > 192.168.1.2:5000 "ho"`,
			`1.001000001s home inside in: 192.168.1.2:5000 > 2.0.0.1:3 "no"`,
			`1.001000001s home outside out: `+out+` > 2.0.0.1:3 "no"`,
			`1.010000001s home outside in: 2.0.0.1:2 > `+out+` "who" (dropped: filtered)`,
			`2.001000001s home inside in: 192.168.1.2:5000 > 2.0.0.1:1 "lost"`,
			`2.001000001s home outside out: `+out+` > 2.0.0.1:1 "lost"`,
			`4.000000001s home outside in: 2.0.0.1:1 > `+out+` "unseen"`,
			`4.000000001s home inside out: 2.0.0.1:1 > 192.168.1.2:5000 "unseen"`,
		)
		wantLines(t, "the server", readPcapng(t, atServer.Bytes()).lines(start),
			`11.000001ms s in: `+out+` > 2.0.0.1:1 "hi"`,
			`11.000002ms s out: 2.0.0.1:1 > `+out+` "ho"`,
			`1.000000001s s out: 2.0.0.1:2 > `+out+` "who"`,
			`1.011000001s s in: `+out+` > 2.0.0.1:3 "no" (dropped: no socket)`,
			`2.001000001s s in: `+out+` > 2.0.0.1:1 "lost" (dropped: loss)`,
		)
	})
}

// A packet that is turned round passes the inside twice, and IPv6 has its own header.
func TestCaptureOfHairpinAndIPv6(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		home := w.NewSegment("home")
		r := w.router("r", w.Internet(), "1.0.0.1", home, NAT{Hairpin: HairpinExternal})
		a := w.listen(w.NewHost("a", home, Link{}, addr("192.168.1.2"), addr("2001:db8::2")), 5000)
		b := w.listen(w.NewHost("b", home, Link{}, addr("192.168.1.3")), 6000)
		s := w.listen(w.NewHost("s", w.Internet(), Link{}, addr("2.0.0.1"), addr("2001:db8:1::1")), 1)
		w.send(b, "2.0.0.1:1", "b")
		to := w.wantPacket(s, "b").String()
		var buf bytes.Buffer
		r.Capture(&buf)
		w.send(a, to, "hi")
		w.wantPacket(b, "hi")
		w.send(a, "[2001:db8:1::1]:1", "six")
		w.wantPacket(s, "six")
		w.close()
		got := readPcapng(t, buf.Bytes())
		wantLines(t, "the router", got.lines(start),
			`2ns r inside in: 192.168.1.2:5000 > 1.0.0.1:6000 "hi"`,
			`2ns r inside out: 1.0.0.1:5000 > 192.168.1.3:6000 "hi"`,
			`3ns r inside in: [2001:db8::2]:5000 > [2001:db8:1::1]:1 "six"`,
			`3ns r outside out: [2001:db8::2]:5000 > [2001:db8:1::1]:1 "six"`,
		)
		var ttls []byte
		for _, p := range got.packets[:2] {
			ttls = append(ttls, p.ip[8])
		}
		if !slices.Equal(ttls, []byte{64, 63}) {
			t.Errorf("times to live %v", ttls)
		}
	})
}

// All of a network in one file.
func TestCaptureOfAll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		h, _ := w.behind("home", "1.0.0.1", NAT{})
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		var buf bytes.Buffer
		w.Capture(&buf)
		w.send(w.listen(h, 5000), "2.0.0.1:1", "hi")
		w.wantPacket(s, "hi")
		w.close()
		got := readPcapng(t, buf.Bytes())
		if want := []string{"home outside", "home inside", "home", "s"}; !slices.Equal(got.names, want) {
			t.Errorf("interfaces %q, want %q", got.names, want)
		}
		wantLines(t, "the network", got.lines(start),
			`1ns home out: 192.168.1.2:5000 > 2.0.0.1:1 "hi"`,
			`1.000001ms home inside in: 192.168.1.2:5000 > 2.0.0.1:1 "hi"`,
			`1.000001ms home outside out: 1.0.0.1:5000 > 2.0.0.1:1 "hi"`,
			`1.000001ms s in: 1.0.0.1:5000 > 2.0.0.1:1 "hi"`,
		)
	})
}

// What links do by chance shows: a packet that came twice, one that was damaged.
func TestCaptureOfDamage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		ha := w.public("a", "1.0.0.1", Link{Duplicate: 1, Corrupt: 1})
		hb := w.public("b", "1.0.0.2", Link{})
		a := w.listen(ha, 1)
		w.listen(hb, 2)
		var atA, atB bytes.Buffer
		ha.Capture(&atA)
		hb.Capture(&atB)
		for w.Stats().Delivered == 0 { // until it is not the headers that are hit
			w.send(a, "1.0.0.2:2", "\x00\x00\x00\x00")
			time.Sleep(time.Second)
		}
		w.close()
		sent, got := readPcapng(t, atA.Bytes()), readPcapng(t, atB.Bytes())
		for i, p := range sent.packets {
			if whole := string(p.ip[28:]) == "\x00\x00\x00\x00"; !whole || (p.comment == "dropped: corrupt") == (i == len(sent.packets)-1) {
				t.Errorf("sent: %s", p.line(sent.names, start))
			}
		}
		if len(got.packets) != 2 || ones(got.packets[0].ip[28:], make([]byte, 4)) != 1 || !bytes.Equal(got.packets[0].ip, got.packets[1].ip) {
			t.Errorf("arrived: %q", got.lines(start))
		}
	})
}

// failingWriter fails after a number of writes.
type failingWriter struct{ left, calls int }

var errFull = errors.New("disk full")

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.calls++; f.calls > f.left {
		return 0, errFull
	}
	return len(b), nil
}

func TestCaptureThatCannotBeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world) {
		n := New(Config{})
		f := &failingWriter{left: 3}
		h := n.NewHost("a", n.Internet(), Link{}, addr("1.0.0.1"))
		h.Capture(f)
		c, err := h.ListenUDP(addrPort("0.0.0.0:1"))
		if err != nil {
			t.Fatal(err)
		}
		for range 9 {
			_, _ = c.WriteToUDPAddrPort(nil, addrPort("1.0.0.2:1"))
		}
		time.Sleep(time.Second)
		if err := n.Close(); !errors.Is(err, errFull) || f.calls != 4 {
			t.Errorf("closed with %v after %d writes", err, f.calls)
		}
	})
}

// A capture changes nothing, and one seed gives one file.
func TestCaptureIsDeterministic(t *testing.T) {
	var files [2]bytes.Buffer
	var digests [3]uint64
	for i := range digests {
		inBubble(t, func(t *testing.T, w *world) {
			ha := w.public("a", "1.0.0.1", bad)
			a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", bad), 2)
			if i < 2 {
				ha.Capture(&files[i])
			}
			go echo(a)
			go echo(b)
			for range 50 {
				w.send(a, "1.0.0.2:2", "x")
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
			digests[i] = w.Digest()
			w.close()
		})
	}
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Errorf("digests %x", digests)
	}
	if a, b := files[0].Bytes(), files[1].Bytes(); !bytes.Equal(a, b) || len(readPcapng(t, a).packets) < 100 {
		t.Errorf("files of %d and %d bytes", len(a), len(b))
	}
}
