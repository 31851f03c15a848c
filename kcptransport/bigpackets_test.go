package kcptransport

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// A full answer is as long as what it answers, however little it says, and is read as any other.
func TestHandshakeFullAnswer(t *testing.T) {
	for _, known := range []bool{true, false} {
		remote := PeerID{}
		if known {
			remote = testIdentity(2).ID()
		}
		i, err := newInitiator(testConfig(1), remote, indexI, says(testHello(1)))
		if err != nil {
			t.Fatal(err)
		}
		cfg := testConfig(2)
		cfg.fullAnswer = true
		answer, _, err := respond(cfg, i.first(), indexR, says(Hello{LinkID: testHello(2).LinkID}))
		if err != nil {
			t.Fatal(err)
		}
		if len(answer) != len(i.first()) {
			t.Errorf("the answer to %d bytes has %d", len(i.first()), len(answer))
		}
		if _, est, err := i.handle(answer); err != nil || est == nil {
			t.Errorf("the answer was not taken: %v", err)
		}
	}
}

// A path that carries packets of 1,200 bytes in one direction only makes no link, in whichever direction that is, and
// whether or not the peer is known: no data is sent on it to be lost. One that carries them just so is good.
func TestLinkNeedsBigPacketsBothWays(t *testing.T) {
	const enough = 28 + 1232 // with the headers of IPv4 and UDP
	small := netsim.Link{Delay: 10 * time.Millisecond, MTU: 28 + minMaxPacket - 1}
	good := netsim.Link{Delay: 10 * time.Millisecond, MTU: enough}
	for _, test := range []struct {
		name     string
		up, down netsim.Link // of the side that is called
		works    bool
	}{{"up", small, good, false}, {"down", good, small, false}, {"neither", good, good, true}} {
		for _, known := range []bool{true, false} {
			t.Run(test.name, func(t *testing.T) {
				inWorld(t, 40*time.Millisecond, func(w *world) {
					a, b := w.node(1), w.node(2)
					b.host.SetLink(test.up, test.down)
					ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
					defer cancel()
					d := Dial{Addrs: []netip.AddrPort{b.addr()}}
					if known {
						d.Peer = b.ID()
					}
					l, err := a.Dial(ctx, d)
					if (err == nil) != test.works {
						w.Fatalf("dialling: %v", err)
					}
					if test.works {
						w.serveEcho(b.accept())
						w.wantEchoOn(w.open(l, "echo"), make([]byte, 100<<10))
					} else if n := len(b.Links()); n != 0 {
						w.Errorf("%d links at the other side", n)
					}
				})
			})
		}
	}
}
