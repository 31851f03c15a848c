//go:build linux

package lab

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// TestSharkReadsCaptures has tshark read what netsim captures at a router: it
// understands every field, and finds every checksum good.
func TestSharkReadsCaptures(t *testing.T) {
	needLab(t)
	t.Parallel()
	var file bytes.Buffer
	synctest.Test(t, func(t *testing.T) { simulate(t, &file) })

	got := tshark(t, file.Bytes(), "frame.number", "frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction",
		"ip.ttl", "ip.src", "ip.checksum.status", "ipv6.src", "udp.srcport", "udp.dstport", "udp.checksum.status",
		"data.data", "frame.comment", "_ws.malformed")
	const four, six, good = "198.51.100.1", "2001:db8::2", "1"
	want := []string{
		"1|946684800.001000001|r inside|0x00000001|64|192.168.1.2|" + good + "||5000|3333|" + good + "|6869||",
		"2|946684800.001000001|r outside|0x00000002|63|" + four + "|" + good + "||5000|3333|" + good + "|6869||",
		"3|946684801.001000001|r inside|0x00000001||||" + six + "|5000|3333|" + good + "|736978||",
		"4|946684801.001000001|r outside|0x00000002||||" + six + "|5000|3333|" + good + "|736978||",
		"5|946684802.000000001|r outside|0x00000001|64|203.0.113.1|" + good + "||4444|5000|" + good + "|77686f|dropped: filtered|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// simulate lets a host behind a router send over IPv4 and IPv6, and a stranger knock.
func simulate(t *testing.T, file *bytes.Buffer) {
	n := netsim.New(netsim.Config{Seed: 1})
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr, addrPort := netip.MustParseAddr, netip.MustParseAddrPort
	home := n.NewSegment("home")
	r := n.NewRouter("r", netsim.RouterConfig{
		Outside: n.Internet(), OutsideAddrs: []netip.Addr{addr("198.51.100.1")}, Inside: home,
		NAT: netsim.Presets["port-restricted"],
	})
	a := n.NewHost("a", home, netsim.Link{Delay: time.Millisecond}, addr("192.168.1.2"), addr("2001:db8::2"))
	b := n.NewHost("b", n.Internet(), netsim.Link{}, addr("203.0.113.1"), addr("2001:db8:1::1"))
	r.Capture(file)
	send := func(from *netsim.Host, port uint16, to, text string) {
		c, err := from.ListenUDP(netip.AddrPortFrom(netip.Addr{}, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.WriteToUDPAddrPort([]byte(text), addrPort(to)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
	}
	send(a, 5000, "203.0.113.1:3333", "hi")
	send(a, 5000, "[2001:db8:1::1]:3333", "six")
	send(b, 4444, "198.51.100.1:5000", "who")
}

// tshark returns the fields of every packet in a capture.
func tshark(t *testing.T, capture []byte, fields ...string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(path, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", path, "-n", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "tshark", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &stderr)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
