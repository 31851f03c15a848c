//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/2xppg/xppg/punch/portmap"
)

func needMiniupnpd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("miniupnpd"); err != nil {
		t.Fatalf("no router to map ports at: %v (install miniupnpd)", err)
	}
}

// mapper is miniupnpd on a home router.
type mapper struct {
	w      *world
	router *space
	dir    string
	p      *process
}

// mapperChains are what miniupnpd puts its rules into.
const mapperChains = `table inet filter {
	chain miniupnpd {
	}
	chain forward {
		type filter hook forward priority filter
		jump miniupnpd
	}
	chain prerouting_miniupnpd {
		type nat hook prerouting priority dstnat
	}
	chain postrouting_miniupnpd {
		type nat hook postrouting priority 90
	}
}
`

// mapper starts miniupnpd on a router, with one protocol and more lines of configuration.
func (w *world) mapper(router *space, p portmap.Protocol, more ...string) *mapper {
	w.t.Helper()
	m := &mapper{w: w, router: router, dir: w.t.TempDir()}
	rules := mapperChains
	switch p { // it speaks NAT-PMP and PCP together: the other one is dropped
	case portmap.NATPMP:
		rules += "table inet filter {\n\tchain input {\n\t\tudp dport 5351 @th,64,8 2 drop\n\t}\n}\n"
	case portmap.PCP:
		rules += "table inet filter {\n\tchain input {\n\t\tudp dport 5351 @th,64,8 0 drop\n\t}\n}\n"
	}
	_, err := router.exec(rules, "nft", "-f", "-")
	w.must(err)
	yesNo := map[bool]string{true: "yes", false: "no"}
	config := strings.Join([]string{
		"ext_ifname=wan0", "listening_ip=lan0", "port=0", "secure_mode=yes", "system_uptime=no", "min_lifetime=4", "max_lifetime=86400",
		"enable_natpmp=" + yesNo[p != portmap.UPnP], "enable_upnp=" + yesNo[p == portmap.UPnP],
		"upnp_table_name=filter", "upnp_nat_table_name=filter", "upnp_forward_chain=miniupnpd",
		"upnp_nat_chain=prerouting_miniupnpd", "upnp_nat_postrouting_chain=postrouting_miniupnpd",
		fmt.Sprintf("allow 1024-65535 %v 1024-65535", aliceInside.Masked()), "",
	}, "\n") + strings.Join(more, "\n") + "\n"
	w.must(os.WriteFile(filepath.Join(m.dir, "conf"), []byte(config), 0o600))
	m.start()
	return m
}

func (m *mapper) start() {
	m.w.t.Helper()
	m.p = m.w.start(m.router, m.dir, "miniupnpd", "-d", "-f", filepath.Join(m.dir, "conf"), "-P", filepath.Join(m.dir, "pid"))
}

// powerCut ends it without a word, and its rules with it.
func (m *mapper) powerCut() {
	m.w.t.Helper()
	m.p.kill()
	for _, chain := range []string{"miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"} {
		_, err := m.router.exec("", "nft", "flush", "chain", "inet", "filter", chain)
		m.w.must(err)
	}
}

// rules returns what it has put into its chain for incoming packets.
func (m *mapper) rules() string {
	m.w.t.Helper()
	out, err := m.router.exec("", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
	m.w.must(err)
	return out
}

// spaceNetwork is the network of a host as package portmap sees it.
type spaceNetwork struct{ s *space }

func (n spaceNetwork) Gateways() (out []portmap.Gateway, err error) {
	err = n.s.do(func() error { out, err = portmap.System().Gateways(); return err })
	return out, err
}

func (n spaceNetwork) ListenPacket(ctx context.Context, local netip.AddrPort) (c net.PacketConn, err error) {
	err = n.s.do(func() error { c, err = portmap.System().ListenPacket(ctx, local); return err })
	return c, err
}

func (n spaceNetwork) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.s.do(func() error { c, err = portmap.System().DialContext(ctx, network, addr); return err })
	return c, err
}
