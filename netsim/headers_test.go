package netsim

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// tshark says of both that their checksums are good.
func TestHeaders(t *testing.T) {
	for _, tt := range []struct{ src, dst, data, want string }{
		{"192.0.2.1:5000", "198.51.100.7:53", "hello", "45000021000040003f114f90c0000201c633640713880035000dbc0868656c6c6f"},
		{"[2001:db8::1]:5000", "[2001:db8::2]:53", "hello", "60000000000d113f" +
			"20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "13880035000d4cd068656c6c6f"},
	} {
		p := &packet{src: addrPort(tt.src), dst: addrPort(tt.dst), data: []byte(tt.data), ttl: 63}
		if got := hex.EncodeToString(p.appendIP(nil)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Summed up with its checksum, everything is ones, as who receives it checks.
func TestChecksums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 200 {
		p := &packet{src: addrPort("192.0.2.1:5000"), dst: addrPort("198.51.100.7:53"), ttl: 64}
		header := 20
		if i%2 == 1 {
			p.src, p.dst, header = addrPort("[2001:db8::1]:1"), addrPort("[2001:db8::2]:2"), 40
		}
		p.data = make([]byte, r.IntN(maxDatagram))
		for k := range p.data {
			p.data[k] = byte(r.Uint32())
		}
		b := p.appendIP([]byte("before"))[len("before"):]
		if len(b) != p.size() {
			t.Fatalf("%d bytes, want %d", len(b), p.size())
		}
		if header == 20 && fold(sum(0, b[:header])) != 0xffff {
			t.Fatal("the checksum of the header is wrong")
		}
		wantGoodUDP(t, p, b[header:])
	}
	// One of these has the sum of ones, whose complement would mean that there is no
	// checksum.
	p := &packet{src: addrPort("192.0.2.1:5000"), dst: addrPort("198.51.100.7:53"), data: make([]byte, 2)}
	for i := range 1 << 16 {
		p.data[0], p.data[1] = byte(i>>8), byte(i)
		wantGoodUDP(t, p, p.appendIP(nil)[20:])
	}
}

func wantGoodUDP(t *testing.T, p *packet, udp []byte) {
	t.Helper()
	if fold(sum(pseudo(p.src.Addr(), p.dst.Addr(), protoUDP, len(udp)), udp)) != 0xffff || (udp[6] == 0 && udp[7] == 0) {
		t.Fatalf("the checksum of UDP is wrong, of %x", udp)
	}
}
