package netsim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// gatewayWorld is a home with a gateway, somebody inside and somebody outside.
type gatewayWorld struct {
	*world
	router   *Router
	in, out  *Host
	udp, ask *Conn // of in
	stranger *Conn // of out
}

func inBubbleHome(t *testing.T, nat NAT, cfg Gateway, f func(t *testing.T, w *gatewayWorld)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		home := w.NewSegment("home")
		cfg.Addr = addr("192.168.1.1")
		g := &gatewayWorld{world: w}
		g.router = w.NewRouter("router", RouterConfig{
			Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1")}, Inside: home, NAT: nat, Gateway: cfg,
		})
		g.in = w.NewHost("in", home, Link{Delay: time.Millisecond}, addr("192.168.1.2"))
		g.out = w.public("out", "2.0.0.1", Link{Delay: 10 * time.Millisecond})
		g.udp, g.ask, g.stranger = w.listen(g.in, 4242), w.listen(g.in, 5000), w.listen(g.out, 9)
		f(t, g)
	})
}

// request asks the gateway and returns its answer, nil when there is none.
func (w *gatewayWorld) request(to string, b []byte) []byte {
	w.t.Helper()
	w.send(w.ask, to, string(b))
	_ = w.ask.SetReadDeadline(time.Now().Add(time.Second))
	a := make([]byte, 2000)
	n, from, err := w.ask.ReadFromUDPAddrPort(a)
	if err != nil {
		return nil
	}
	if from != addrPort(to) && from.Addr() != addr("192.168.1.1") {
		w.t.Errorf("an answer from %v", from)
	}
	return a[:n]
}

// wantForwards checks which forwardings there are: protocol, ports and addresses.
func (w *gatewayWorld) wantForwards(want ...string) {
	w.t.Helper()
	got := []string{}
	for _, f := range w.router.Forwards() {
		proto := "udp"
		if f.TCP {
			proto = "tcp"
		}
		got = append(got, fmt.Sprintf("%s %v > %v", proto, f.Outside, f.Inside))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("forwardings %q, want %q", got, want)
	}
}

// wantReach checks whether a stranger reaches the socket inside by a port outside, and
// gets an answer from there.
func (w *gatewayWorld) wantReach(port uint16, want bool) {
	w.t.Helper()
	to := netip.AddrPortFrom(addr("1.0.0.1"), port)
	w.send(w.stranger, to.String(), "anybody there?")
	if !want {
		w.wantNothing(w.udp)
		return
	}
	w.send(w.udp, w.wantPacket(w.udp, "anybody there?").String(), "yes")
	if from := w.wantPacket(w.stranger, "yes"); from != to {
		w.t.Errorf("the answer comes from %v, not %v", from, to)
	}
}

// A forwarding makes every NAT reachable, and what is sent in answer comes from there.
func TestForwardings(t *testing.T) {
	for _, name := range []string{"full-cone", "port-restricted", "symmetric", "linux", "linux-no-drop", "linux-random", "cgnat-block"} {
		t.Run(name, func(t *testing.T) {
			inBubbleHome(t, Presets[name], Gateway{NATPMP: true}, func(t *testing.T, w *gatewayWorld) {
				w.wantReach(4242, false)
				time.Sleep(time.Minute) // so that Linux forgets who came too early
				w.wantPMP(pmpMapUDP, 4242, 4242, 3600, 4242, 3600)
				w.wantForwards("udp 1.0.0.1:4242 > 192.168.1.2:4242")
				w.wantReach(4242, true)
				w.wantReach(4242, true)

				// Streams have forwardings of their own.
				l := w.listenTCP(w.in, "0.0.0.0:4242")
				w.wantPMP(pmpMapTCP, 4242, 4242, 3600, 4242, 3600)
				a := w.dial(w.out, "1.0.0.1:4242")
				w.transfer(w.accept(l), a, random(10_000))

				// Who asks outside is seen with the port when the NAT shows one to all.
				w.send(w.udp, "2.0.0.2:1", "x") // nobody is there
				w.send(w.udp, "2.0.0.1:9", "hello")
				from := w.wantPacket(w.stranger, "hello")
				if from.Port() != 4242 { // it is an answer to what came in before
					t.Errorf("seen as %v", from)
				}
				time.Sleep(time.Hour)
				w.wantForwards()
				time.Sleep(time.Hour)
				w.wantReach(4242, false)
			})
		})
	}
}

// A router that forgets says so only when it was a reboot.
func TestForwardingsGetLost(t *testing.T) {
	inBubbleHome(t, NAT{Filtering: AddressAndPortDependent}, Gateway{NATPMP: true}, func(t *testing.T, w *gatewayWorld) {
		time.Sleep(100 * time.Second)
		w.wantPMP(pmpMapUDP, 4242, 4242, 3600, 4242, 3600)
		w.wantEpoch(100)
		w.router.Rebind()
		time.Sleep(time.Second)
		w.wantReach(4242, false)
		w.wantEpoch(102)
		w.wantPMP(pmpMapUDP, 4242, 4242, 3600, 4242, 3600)
		w.router.Reboot(30 * time.Second)
		if b := w.request("192.168.1.1:5351", []byte{0, 0}); b != nil {
			t.Errorf("a router answers while it boots: %x", b)
		}
		time.Sleep(30 * time.Second)
		w.wantForwards()
		w.wantEpoch(1)
		w.router.SetOutsideAddrs(addr("1.0.0.7"))
		time.Sleep(time.Millisecond)
		w.wantEpoch(0)
	})
}

// Ports are given once: to those who asked, or to those whose mapping has them.
func TestForwardingsDoNotCollide(t *testing.T) {
	inBubbleHome(t, NAT{}, Gateway{NATPMP: true}, func(t *testing.T, w *gatewayWorld) {
		other := w.NewHost("other", w.in.segment, Link{}, addr("192.168.1.3"))
		o := w.listen(other, 4242)
		w.send(o, "2.0.0.1:9", "mine") // has port 4242 outside now
		w.wantPacket(w.stranger, "mine")
		b := w.request("192.168.1.1:5351", pmpRequest(pmpMapUDP, 4242, 4242, 60))
		got := be.Uint16(b[10:])
		if be.Uint16(b[2:]) != 0 || got == 4242 || got < firstNATPort {
			t.Fatalf("granted %x", b)
		}
		w.wantReach(got, true)
		w.wantPMP(pmpMapUDP, 4242, 4242, 60, got, 60) // the same again
		w.wantPMP(pmpMapUDP, 7, 7000, 60, 7000, 60)
		p := w.listen(other, 7000) // whose port is given away
		w.send(p, "2.0.0.1:9", "not mine")
		if from := w.wantPacket(w.stranger, "not mine"); from.Port() == 7000 {
			t.Error("a NAT gives a port away that is forwarded")
		}
		w.wantPMP(pmpMapUDP, 7, 0, 0, 0, 0) // removed
		w.wantForwards(fmt.Sprintf("udp 1.0.0.1:%d > 192.168.1.2:4242", got))
		w.wantPMP(pmpMapUDP, 0, 0, 0, 0, 0) // all of them
		w.wantForwards()
	})
}

func TestGatewayOfAHost(t *testing.T) {
	inBubbleHome(t, NAT{}, Gateway{}, func(t *testing.T, w *gatewayWorld) {
		if r, l, ok := w.in.Gateway(); !ok || r != addr("192.168.1.1") || l != addr("192.168.1.2") {
			t.Errorf("%v %v %v", r, l, ok)
		}
		if _, _, ok := w.out.Gateway(); ok {
			t.Error("a public host has a gateway")
		}
	})
}

// One seed gives one history with gateways, too, though their programs are many
// goroutines.
func TestGatewaysAreReproducible(t *testing.T) {
	story := func() (digest uint64) {
		inBubbleHome(t, Presets["linux-random"], Gateway{NATPMP: true, PCP: true, UPnP: 2}, func(_ *testing.T, w *gatewayWorld) {
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					time.Sleep(time.Duration(i) * time.Microsecond) // for the ports
					w.client().add(2, "AddAnyPortMapping", fmt.Sprint(80+i), "192.168.1.2", "600")
				})
			}
			w.request("192.168.1.1:5351", pcpRequest("192.168.1.2", 7, protoUDP, 4242, 0, 600))
			w.wantPMP(pmpMapTCP, 1, 2, 3, 2, 3)
			all.Wait()
			digest = w.Digest()
		})
		return digest
	}
	sameEachTime(t, 20, story)
}

// Whatever is sent to a gateway, it answers with something of the protocol, or not at
// all, and no forwarding has an end that was not asked for.
func FuzzGateway(f *testing.F) {
	for _, b := range [][]byte{
		{0, 0}, pmpRequest(pmpMapUDP, 1, 2, 3), pcpRequest("192.168.1.2", 7, protoUDP, 1, 2, 3, 2, 0, 0, 0), search("ssdp:all"),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &gateway{Gateway: Gateway{Addr: addr("192.168.1.1"), NATPMP: true, PCP: true, UPnP: 2, MaxLifetime: time.Hour}}
		g.router = &Router{
			net: &Network{rand: rand.New(rand.NewPCG(1, 1))}, addrs: []netip.Addr{addr("1.0.0.1")}, homes: map[netip.Addr]netip.Addr{},
			udp: newTables(NAT{}), tcp: newTables(NAT{}),
		}
		from := addrPort("192.168.1.2:5000")
		_ = g.answerSearch(from, b)
		if len(b) < 2 || b[1] >= pmpAnswer {
			return
		}
		if a := g.answerPCP(0, from.Addr(), b); len(a) < pcpHeader || a[0] != pcpVersion || a[1] != 0x80|b[1] || len(a) > len(b)+pcpHeader {
			t.Errorf("PCP: answered %x", a)
		}
		if a := g.answerPMP(0, from.Addr(), b); a != nil && (len(a) < 8 || len(a) > 16 || a[0] != 0 || a[1] != pmpAnswer|b[1]) {
			t.Errorf("NAT-PMP: answered %x", a)
		}
		for outside, f := range g.router.udp.nat.rules {
			if f.until > int64(time.Hour) || f.inside.Addr() != from.Addr() || outside.Port() == 0 {
				t.Errorf("%v to %v until %d", outside, f.inside, f.until)
			}
		}
	})
}
