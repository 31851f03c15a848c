package netsim

import (
	"testing"
	"time"
)

func pmpRequest(opcode byte, port, wanted uint16, seconds uint32) []byte {
	b := be.AppendUint16([]byte{0, opcode, 0, 0}, port)
	return be.AppendUint32(be.AppendUint16(b, wanted), seconds)
}

// wantPMP asks for a forwarding and checks what is granted.
func (w *gatewayWorld) wantPMP(opcode byte, port, wanted uint16, seconds uint32, got uint16, granted uint32) {
	w.t.Helper()
	b := w.request("192.168.1.1:5351", pmpRequest(opcode, port, wanted, seconds))
	if len(b) != 16 || b[0] != 0 || b[1] != pmpAnswer|opcode || be.Uint16(b[2:]) != 0 ||
		be.Uint16(b[8:]) != port || be.Uint16(b[10:]) != got || be.Uint32(b[12:]) != granted {
		w.t.Errorf("got %x, want port %d for %d s", b, got, granted)
	}
}

func (w *gatewayWorld) wantEpoch(want uint32) {
	w.t.Helper()
	b := w.request("192.168.1.1:5351", []byte{0, pmpExternal})
	if len(b) != 12 || be.Uint32(b[4:]) != want {
		w.t.Errorf("got %x, want epoch %d", b, want)
	}
}

func TestNATPMP(t *testing.T) {
	inBubbleHome(t, NAT{}, Gateway{NATPMP: true, MaxLifetime: time.Hour}, func(t *testing.T, w *gatewayWorld) {
		for _, tt := range []struct {
			request []byte
			want    string
		}{
			{[]byte{0, 0}, "\x00\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x01"},
			{[]byte{0, 3}, "\x00\x83\x00\x05\x00\x00\x00\x00"},
			{[]byte{2, 1}, "\x00\x81\x00\x01\x00\x00\x00\x00"}, // that is PCP
			{[]byte{0, 1, 0}, ""},
			{[]byte{0}, ""},
			{[]byte{0, 0x80}, ""},
			{pmpRequest(pmpMapUDP, 0, 0, 60), ""},
		} {
			if got := w.request("192.168.1.1:5351", tt.request); string(got) != tt.want {
				t.Errorf("%x: answered %x, want %x", tt.request, got, tt.want)
			}
			w.router.Reboot(0)
		}
		w.wantPMP(pmpMapUDP, 4242, 80, 1<<31, 80, 3600) // no longer than MaxLifetime
	})
	inBubbleHome(t, NAT{}, Gateway{NATPMP: true, Refuses: true}, func(t *testing.T, w *gatewayWorld) {
		if b := w.request("192.168.1.1:5351", pmpRequest(pmpMapUDP, 4242, 0, 60)); string(b) != "\x00\x81\x00\x02\x00\x00\x00\x00" {
			t.Errorf("refused with %x", b)
		}
	})
	inBubbleHome(t, NAT{}, Gateway{NATPMP: true, Hostile: Hostile{External: addr("10.0.0.1"), NoMapping: true}}, func(_ *testing.T, w *gatewayWorld) {
		if b := w.request("192.168.1.1:5351", []byte{0, 0}); string(b[8:]) != "\x0a\x00\x00\x01" {
			t.Errorf("told %x", b)
		}
		w.wantPMP(pmpMapUDP, 4242, 4242, 60, 4242, 60)
		w.wantReach(4242, false)
	})
}
