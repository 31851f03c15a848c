//go:build linux

package lab

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// TestNetcheck compares what the program says of a NAT with what the NAT is,
// seen through a STUN server with two addresses and two ports.
func TestNetcheck(t *testing.T) {
	needLab(t)
	if _, err := exec.LookPath("turnserver"); err != nil {
		t.Fatalf("no STUN server to test with: %v (install coturn)", err)
	}
	for _, tt := range []struct {
		nat     nat
		mapping string
	}{
		{portPreserving, "endpoint-independent"},
		{fullCone, "endpoint-independent"},
		{random, "address-and-port-dependent"},
	} {
		t.Run(string(tt.nat), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, weather{delay: realistic.delay})
			servers := w.coturn(w.public("stun", rendezvousAddr, otherAddr))
			host := w.home("host", tt.nat, aliceOutside, aliceInside)
			args := []string{"netcheck"}
			for _, s := range servers {
				args = append(args, "--stun", s.String())
			}
			code, events := w.xppg(host, args...).wantExit(30 * time.Second)
			if code != 0 || len(events) != 1 || events[0].Mapping != tt.mapping {
				t.Fatalf("exit code %d, %+v, want mapping %s", code, events, tt.mapping)
			}
			if len(events[0].Public) == 0 {
				t.Error("no public address")
			}
			for _, a := range events[0].Public {
				if netip.MustParseAddrPort(a).Addr() != aliceOutside {
					t.Errorf("public address %s, not the router's", a)
				}
			}
		})
	}
}

// coturn runs a STUN server on both public addresses of a host, waits until it
// answers and returns where.
func (w *world) coturn(s *space) []netip.AddrPort {
	w.t.Helper()
	home := w.t.TempDir()
	w.start(s, home, "turnserver", "-n", "-S", "-L", rendezvousAddr.String(), "-L", otherAddr.String(),
		"-p", "3478", "--alt-listening-port=3479", "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout",
		"--pidfile="+filepath.Join(home, "pid"), "--db="+filepath.Join(home, "db"))
	var out []netip.AddrPort
	for _, addr := range []netip.Addr{rendezvousAddr, otherAddr} {
		for _, port := range []uint16{3478, 3479} {
			server := netip.AddrPortFrom(addr, port)
			w.must(s.do(func() error { return awaitSTUN(server, startWithin) }))
			out = append(out, server)
		}
	}
	return out
}

// awaitSTUN asks a server until it answers.
func awaitSTUN(server netip.AddrPort, within time.Duration) error {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return err
	}
	for end := time.Now().Add(within); ; {
		if _, err := conn.WriteToUDPAddrPort(request.Raw, server); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _, err := conn.ReadFromUDPAddrPort(make([]byte, 1500))
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
