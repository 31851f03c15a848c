//go:build linux

package lab

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// TestNetcheck compares what the program says of a NAT with what the NAT is,
// seen through a STUN server with two addresses and two ports, and with what
// coturn's own client says.
func TestNetcheck(t *testing.T) {
	needLab(t)
	needCoturn(t)
	const independent, byAddress, byPort = "endpoint-independent", "address-dependent", "address-and-port-dependent"
	for _, tt := range []struct {
		nat                       nat
		mapping, filtering, ports string
		step                      int // 0: none
		block                     [2]int
	}{
		{portPreserving, independent, byPort, "preserved", 0, [2]int{}},
		{portPreservingOpen, independent, byPort, "preserved", 0, [2]int{}},
		{fullCone, independent, independent, "preserved", 0, [2]int{}},
		{fullConeHairpin, independent, independent, "preserved", 0, [2]int{}},
		{addressRestricted, independent, byAddress, "preserved", 0, [2]int{}},
		{random, byPort, byPort, "changed", 0, [2]int{}},
		{carrierBlock, byPort, byPort, "changed", 0, [2]int{40960, 41983}},
		{sequential, byPort, byPort, "changed", 256, [2]int{}},
	} {
		t.Run(string(tt.nat), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, weather{delay: realistic.delay})
			servers := w.coturn(w.public("stun", rendezvousAddr, otherAddr))
			host := w.home("host", aliceOutside, aliceInside, tt.nat)
			ev := w.netcheck(host, servers)
			n := ev.NAT
			if ev.Mapping != tt.mapping || n.Mapping.Is != tt.mapping || n.Filtering.Is != tt.filtering || n.Ports.Is != tt.ports {
				t.Errorf("%+v, want mapping %s, filtering %s, port %s", n, tt.mapping, tt.filtering, tt.ports)
			}
			if n.Mapping.Confidence < 0.7 || n.Filtering.Confidence < 0.6 || n.Ports.Confidence < 0.7 {
				t.Errorf("not sure enough: %+v", n)
			}
			if n.Step.Is != tt.step || [2]int{n.Block.Is.First, n.Block.Is.Last} != tt.block {
				t.Errorf("step %+v, block %+v, want %d and %v", n.Step, n.Block, tt.step, tt.block)
			}
			if n.Hairpin.Is != (tt.nat == fullConeHairpin) || n.Hairpin.Confidence == 0 {
				t.Errorf("hairpin %+v", n.Hairpin)
			}
			if len(ev.Public) == 0 {
				t.Error("no public address")
			}
			for _, a := range ev.Public {
				if netip.MustParseAddrPort(a).Addr() != aliceOutside {
					t.Errorf("public address %s, not the router's", a)
				}
			}
			w.compareWithCoturn(host, n)
		})
	}
}

// TestLifetime measures how long a router whose conntrack forgets soon keeps an
// idle mapping.
func TestLifetime(t *testing.T) {
	needLab(t)
	needCoturn(t)
	t.Parallel()
	w := newWorld(t, weather{delay: realistic.delay})
	servers := w.coturn(w.public("stun", rendezvousAddr, otherAddr))
	host := w.home("host", aliceOutside, aliceInside, portPreserving)
	w.must(w.routers[0].setting("net/netfilter/nf_conntrack_udp_timeout", "4"))
	w.must(w.routers[0].setting("net/netfilter/nf_conntrack_udp_timeout_stream", "4"))
	l := w.netcheck(host, servers, "--lifetime", "45s").NAT.Lifetime
	if l.Confidence == 0 || l.Is.Min < 2500 || l.Is.Min > 4500 || l.Is.Max < 3500 || l.Is.Max > 6000 {
		t.Errorf("%+v ms, want about 4 s", l)
	}
}

// netcheck runs the program and returns its report.
func (w *world) netcheck(host *space, servers []netip.AddrPort, args ...string) event {
	w.t.Helper()
	args = append([]string{"netcheck"}, args...)
	for _, s := range servers {
		args = append(args, "--stun", s.String())
	}
	code, events := w.xppg(host, args...).wantExit(2 * time.Minute)
	if code != 0 || len(events) != 1 {
		w.t.Fatalf("exit code %d, %+v", code, events)
	}
	return events[0]
}

// compareWithCoturn asks coturn's client the same; both must say the same.
func (w *world) compareWithCoturn(host *space, n vector) {
	w.t.Helper()
	for _, tt := range []struct{ flag, what, is string }{
		{"-m", "Mapping", n.Mapping.Is},
		{"-f", "Filtering", n.Filtering.Is},
	} {
		out, err := host.exec("", "timeout", "60", "turnutils_natdiscovery", tt.flag, "-p", "3478", rendezvousAddr.String())
		w.must(err)
		_, verdict, found := strings.Cut(out, "NAT with ")
		verdict, _, _ = strings.Cut(verdict, " "+tt.what+"!")
		if verdict = strings.ReplaceAll(strings.ToLower(verdict), " ", "-"); !found || verdict != tt.is {
			w.t.Errorf("coturn's client says %q, ours %q: %s", verdict, tt.is, out)
		}
	}
}

func needCoturn(t *testing.T) {
	t.Helper()
	for _, program := range []string{"turnserver", "turnutils_natdiscovery"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("no STUN server to test with: %v (install coturn)", err)
		}
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
