package portmap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRoutes4(t *testing.T) {
	const text = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	0100000A	0003	0	0	100	00000000	0	0	0
tun0	00000000	00000000	0001	0	0	50	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	100	00FFFFFF	0	0	0
bad	00000000	zz	0003	0	0	100	00000000
`
	got := parseRoutes4(text)
	want := []route{{"eth0", netip.MustParseAddr("10.0.0.1"), 100}, {"wlan0", netip.MustParseAddr("192.168.1.1"), 600}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
	ours := []netip.Prefix{netip.MustParsePrefix("192.168.7.3/24"), netip.MustParsePrefix("10.0.0.9/24"), netip.MustParsePrefix("fe80::1/64")}
	if g, ok := got[0].gateway(ours); !ok || g.Local != netip.MustParseAddr("10.0.0.9") {
		t.Errorf("%+v", g)
	}
}

func TestRoutes6(t *testing.T) {
	const zeros = "00000000000000000000000000000000"
	text := zeros + " 00 " + zeros + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n" +
		zeros + " 00 " + zeros + " 00 " + zeros + " ffffffff 00000001 00000000 00200200       lo\nfe80 garbage\n"
	got := parseRoutes6(text)
	if len(got) != 1 || got[0].router != netip.MustParseAddr("fe80::1%eth0") {
		t.Fatalf("%v", got)
	}
	g, ok := got[0].gateway([]netip.Prefix{netip.MustParsePrefix("fe80::5/64"), netip.MustParsePrefix("2001:db8::5/64")})
	if !ok || g.Local != netip.MustParseAddr("2001:db8::5") {
		t.Errorf("%+v: a pinhole is for an address of the internet", g)
	}
}

func TestPCPRequest(t *testing.T) {
	w := pcpWant{us: netip.MustParseAddr("192.168.1.2"), nonce: pcpNonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, port: 0x1234, lifetime: 7200}
	const want = "02010000" + "00001c20" + "00000000000000000000ffffc0a80102" +
		"0102030405060708090a0b0c" + "11000000" + "1234" + "0000" + "00000000000000000000ffff00000000"
	if got := hex.EncodeToString(pcpMapRequest(w)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPMPRequest(t *testing.T) {
	if got := hex.EncodeToString(pmpMapRequest(0x1234, 0x5678, 7200)); got != "00010000"+"1234"+"5678"+"00001c20" {
		t.Error(got)
	}
}

func TestPCPAnswers(t *testing.T) {
	if _, err := parsePCP([]byte{0, 129, 0, 1}, pcpMap, pcpWant{}); !errors.Is(err, errPMPOnly) {
		t.Errorf("a server of NAT-PMP: %v", err)
	}
	other := make([]byte, 24)
	other[0], other[1], other[3] = 1, 129, 1
	if _, err := parsePCP(other, pcpMap, pcpWant{}); !errors.Is(err, pcpCode(1)) {
		t.Errorf("another version: %v", err)
	}
}

func TestEpoch(t *testing.T) {
	start := time.Unix(1000, 0)
	tests := []struct {
		name     string
		elapsed  time.Duration
		server   uint32
		pcp, pmp bool
	}{
		{"as it should", 100 * time.Second, 600, false, false},
		{"a second back", 0, 499, false, false},
		{"restarted", 100 * time.Second, 50, true, true},
		{"a little slow", 100 * time.Second, 594, false, false},
		{"stood still", 100 * time.Second, 500, true, true},
		{"raced", 100 * time.Second, 700, true, false},
	}
	for _, tt := range tests {
		pcp, pmp := epoch{500, start}, epoch{500, start}
		if got := pcp.pcp(tt.server, start.Add(tt.elapsed)); got != tt.pcp {
			t.Errorf("%s: PCP says lost %v", tt.name, got)
		}
		if got := pmp.pmp(tt.server, start.Add(tt.elapsed)); got != tt.pmp {
			t.Errorf("%s: NAT-PMP says lost %v", tt.name, got)
		}
	}
	var fresh epoch
	if fresh.pcp(0, start) || (&epoch{}).pmp(7, start) {
		t.Error("the first answer tells of a loss")
	}
}

func TestDouble(t *testing.T) {
	a := netip.MustParseAddr
	tests := []struct {
		router netip.Addr
		seen   []netip.Addr
		want   Double
	}{
		{a("20.0.0.1"), nil, NotDouble},
		{a("20.0.0.1"), []netip.Addr{a("20.0.0.1")}, NotDouble},
		{a("20.0.0.1"), []netip.Addr{a("20.0.0.2")}, DoubleOther},
		{a("20.0.0.1"), []netip.Addr{a("2001:db8::2")}, NotDouble},
		{a("10.1.2.3"), nil, DoublePrivate},
		{a("172.16.2.3"), nil, DoublePrivate},
		{a("100.64.0.1"), []netip.Addr{a("20.0.0.2")}, DoublePrivate},
		{a("100.128.0.1"), nil, NotDouble},
	}
	for _, tt := range tests {
		if got := double(tt.router, tt.seen); got != tt.want || (got == NotDouble) != (got.String() == "") {
			t.Errorf("%v seen at %v: %v, want %v", tt.router, tt.seen, got, tt.want)
		}
	}
}

func TestExternalThatMakesNoSense(t *testing.T) {
	for _, s := range []string{"0.0.0.0:80", "127.0.0.1:80", "224.0.0.1:80", "255.255.255.255:80", "169.254.1.1:80", "250.1.1.1:80",
		"20.0.0.1:0", "[::]:80", "[::1]:80", "[fe80::1]:80", "[ff02::1]:80"} {
		if checkExternal(netip.MustParseAddrPort(s)) == nil {
			t.Errorf("%s is taken", s)
		}
	}
	for _, s := range []string{"20.0.0.1:80", "192.168.1.1:80", "[2001:db8::1]:80"} {
		if err := checkExternal(netip.MustParseAddrPort(s)); err != nil {
			t.Error(err)
		}
	}
}

func TestRenewAfter(t *testing.T) {
	tests := []struct {
		rest   time.Duration
		spread float64
		want   time.Duration
	}{
		{time.Hour, 0, 30 * time.Minute},
		{time.Hour, 0.999999999, 37*time.Minute + 30*time.Second},
		{10 * time.Second, 0, 5 * time.Second},
		{5 * time.Second, 0.5, 4 * time.Second},
	}
	for _, tt := range tests {
		if got := renewAfter(tt.rest, tt.spread).Round(time.Millisecond); got != tt.want {
			t.Errorf("%v left: after %v, want %v", tt.rest, got, tt.want)
		}
	}
}

func TestWords(t *testing.T) {
	m := Mapping{State: Made, Protocol: PCP, Gateway: gateway1, External: netip.MustParseAddrPort("10.0.0.1:7"), Double: DoublePrivate}
	if s := m.String(); !strings.Contains(s, "PCP") || !strings.Contains(s, "behind another NAT") {
		t.Error(s)
	}
	a := Attempt{gateway1, UPnP, ErrNotFound}
	if a.String() != "UPnP at 192.168.1.1: not found" {
		t.Error(a)
	}
}

func FuzzParsePCP(f *testing.F) {
	want := pcpWant{us: netip.MustParseAddr("192.168.1.2"), nonce: pcpNonce{1}, port: 7}
	good := pcpMapRequest(want)
	good[1] |= pcpAnswer
	f.Add(good, byte(pcpMap))
	f.Add(good[:pcpHeader], byte(pcpAnnounce))
	f.Fuzz(func(t *testing.T, b []byte, opcode byte) {
		r, err := parsePCP(b, opcode&1, want)
		if err == nil && opcode&1 == pcpMap && !bytes.Contains(b, want.nonce[:]) {
			t.Errorf("%+v without our nonce", r)
		}
	})
}

func FuzzParsePMP(f *testing.F) {
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 20, 0, 0, 1}, byte(pmpAddress))
	f.Add([]byte{0, 129, 0, 0, 0, 0, 0, 1, 0, 7, 0, 8, 0, 0, 0, 9}, byte(pmpMapUDP))
	f.Fuzz(func(t *testing.T, b []byte, op byte) {
		r, err := parsePMP(b, op&1)
		if err == nil && op&1 == pmpAddress && !r.addr.Is4() {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzRoutes(f *testing.F) {
	f.Add("eth0 00000000 0100000A 0003 0 0 100 00000000")
	f.Fuzz(func(t *testing.T, s string) {
		if n := len(parseRoutes4(s)) + len(parseRoutes6(s)); n > 2*maxGateways {
			t.Errorf("%d gateways", n)
		}
	})
}
