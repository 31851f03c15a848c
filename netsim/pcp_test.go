package netsim

import (
	"net/netip"
	"testing"
)

const protoICMP = 1

// pcpRequest asks for a forwarding with a nonce of equal bytes.
func pcpRequest(client string, nonce, proto byte, port, wanted uint16, seconds uint32, options ...byte) []byte {
	b := be.AppendUint32([]byte{pcpVersion, pcpMap, 0, 0}, seconds)
	ip := addr(client).As16()
	b = append(b, ip[:]...)
	for range 12 {
		b = append(b, nonce)
	}
	b = be.AppendUint16(append(b, proto, 0, 0, 0), port)
	b = be.AppendUint16(b, wanted)
	return append(append(b, make([]byte, 16)...), options...)
}

func TestPCP(t *testing.T) {
	inBubbleHome(t, Presets["linux-random"], Gateway{PCP: true}, func(t *testing.T, w *gatewayWorld) {
		ask := func(b []byte) []byte { return w.request("192.168.1.1:5351", b) }
		req := pcpRequest("192.168.1.2", 7, protoUDP, 4242, 4242, 600)
		b := ask(req)
		if len(b) != 60 || b[0] != 2 || b[1] != 0x81 || b[3] != 0 || be.Uint32(b[4:]) != 600 || be.Uint32(b[8:]) != 0 {
			t.Fatalf("answered %x", b)
		}
		if string(b[24:42]) != string(req[24:42]) || be.Uint16(b[42:]) != 4242 || netip.AddrFrom16([16]byte(b[44:])).Unmap() != addr("1.0.0.1") {
			t.Fatalf("mapped %x", b[24:])
		}
		w.wantReach(4242, true)
		w.wantForwards("udp 1.0.0.1:4242 > 192.168.1.2:4242")

		other := w.NewHost("other", w.in.segment, Link{}, addr("192.168.1.3"))
		_ = w.ask.Close()
		ours := w.listen(w.in, 5001)
		w.ask = w.listen(other, 5000)
		for _, tt := range []struct {
			what    string
			request []byte
			result  byte
		}{
			{"another client", pcpRequest("192.168.1.2", 7, protoUDP, 4242, 0, 60), pcpOtherAddress},
			{"a port that is taken, with PREFER_FAILURE", pcpRequest("192.168.1.3", 8, protoUDP, 4242, 4242, 60, 2, 0, 0, 0), pcpNotThatPort},
			{"another protocol", pcpRequest("192.168.1.3", 8, protoICMP, 4242, 0, 60), pcpBadProtocol},
			{"a third party", pcpRequest("192.168.1.3", 8, protoUDP, 4242, 0, 60, append([]byte{1, 0, 0, 16}, make([]byte, 16)...)...), pcpBadOption},
			{"an option that need not be known", pcpRequest("192.168.1.3", 8, protoUDP, 1, 4243, 60, 200, 0, 0, 0), 0},
			{"an option without end", pcpRequest("192.168.1.3", 8, protoUDP, 1, 0, 60, 200, 0, 1, 0), pcpBadOption},
			{"not a multiple of four", append(pcpRequest("192.168.1.3", 8, protoUDP, 1, 0, 60), 0), pcpMalformed},
			{"too short", pcpRequest("192.168.1.3", 8, protoUDP, 1, 0, 60)[:40], pcpMalformed},
			{"PEER", append([]byte{2, 2}, pcpRequest("192.168.1.3", 8, protoUDP, 1, 0, 60)[2:]...), pcpBadOpcode},
			{"ANNOUNCE", append([]byte{2, 0}, pcpRequest("192.168.1.3", 8, protoUDP, 1, 0, 60)[2:24]...), 0},
			{"NAT-PMP", []byte{0, 1, 0, 0}, pcpBadVersion},
		} {
			b := ask(tt.request)
			if len(b) < 24 || b[0] != 2 || b[1] != 0x80|tt.request[1] || b[3] != tt.result {
				t.Errorf("%s: answered %x, want result %d", tt.what, b, tt.result)
			}
		}
		w.wantForwards("udp 1.0.0.1:4242 > 192.168.1.2:4242", "udp 1.0.0.1:4243 > 192.168.1.3:1")

		_ = w.ask.Close()
		w.ask = ours
		if b := ask(pcpRequest("192.168.1.2", 9, protoUDP, 4242, 0, 0)); b[3] != pcpRefused {
			t.Errorf("another nonce: %x", b)
		}
		if b := ask(pcpRequest("192.168.1.2", 7, protoUDP, 4242, 0, 0)); b[3] != 0 || be.Uint32(b[4:]) != 0 {
			t.Errorf("removed: %x", b)
		}
		w.wantForwards("udp 1.0.0.1:4243 > 192.168.1.3:1")
	})
	inBubbleHome(t, NAT{}, Gateway{PCP: true, Hostile: Hostile{WrongNonce: true}}, func(t *testing.T, w *gatewayWorld) {
		req := pcpRequest("192.168.1.2", 7, protoUDP, 4242, 4242, 600)
		if b := w.request("192.168.1.1:5351", req); string(b[24:36]) == string(req[24:36]) {
			t.Errorf("the right nonce: %x", b)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{PCP: true, NATPMP: true, Refuses: true}, func(t *testing.T, w *gatewayWorld) {
		if b := w.request("192.168.1.1:5351", pcpRequest("192.168.1.2", 7, protoUDP, 4242, 4242, 600)); b[3] != pcpRefused {
			t.Errorf("refused with %x", b)
		}
	})
}
