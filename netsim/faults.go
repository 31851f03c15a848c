package netsim

import (
	"net/netip"
	"time"
)

// Partition stops everything between two hosts, whatever the way, until Heal.
func (n *Network) Partition(a, b *Host) { n.setPartition(true, [2]*Host{a, b}, [2]*Host{b, a}) }

// PartitionOneWay stops everything that one host sends to another, whatever the
// way, until Heal. What comes back gets through.
func (n *Network) PartitionOneWay(from, to *Host) { n.setPartition(true, [2]*Host{from, to}) }

// Heal undoes Partition and PartitionOneWay, in both directions.
func (n *Network) Heal(a, b *Host) { n.setPartition(false, [2]*Host{a, b}, [2]*Host{b, a}) }

func (n *Network) setPartition(on bool, ways ...[2]*Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.later(func() {
		for _, w := range ways {
			n.partition[w] = on
		}
	})
}

// Unplug takes the host's link down for d: what enters it in either direction is
// dropped. What is under way arrives, and programs are told nothing. Called again it
// counts anew; Unplug(0) plugs the link in. For a link that goes down again and
// again, see Link.DownEvery.
func (h *Host) Unplug(d time.Duration) { h.net.unplug(d, h.port) }

// Unplug takes the router's link to the outside down for d, as [Host.Unplug] does.
func (r *Router) Unplug(d time.Duration) { r.net.unplug(d, r.outside) }

// Reboot takes the router's links on both sides down for d, and makes it forget
// every mapping as [Router.Rebind] does. Its addresses stay. What it offers to its inside
// is away as long, and the epochs that it tells begin anew.
func (r *Router) Reboot(d time.Duration) {
	r.Rebind()
	ports := []*iface{r.outside, r.inside}
	if r.gateway != nil {
		ports = append(ports, r.gateway.host.port)
		r.gateway.restart(d)
	}
	r.net.unplug(d, ports...)
}

// SetBlockUDP has the router let no UDP through from now on, or let it through again, as when somebody changes a rule of a
// firewall. Its mappings stay.
func (r *Router) SetBlockUDP(block bool) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.net.later(func() { r.cfg.BlockUDP = block })
}

// unplug takes both directions of the links of interfaces down for d.
func (n *Network) unplug(d time.Duration, links ...*iface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := n.now() + 1 + int64(d)
	n.later(func() {
		for _, i := range links {
			i.up.downUntil, i.down.downUntil = until, until
		}
	})
}

// SetOutsideAddrs gives the router other addresses to translate to, as when a
// provider hands out another one. Every mapping is gone, but ports may be given again. It
// panics when an address is in use.
func (r *Router) SetOutsideAddrs(addrs ...netip.Addr) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	s, addrs := r.outside.segment, unmapped(addrs)
	tell := r.outside.readdress(s, r.given, s, addrs)
	r.given = addrs
	r.net.later(func() {
		tell()
		r.addrs = addrs
		clear(r.homes)
		r.udp.nat.rebind(false)
		r.tcp.nat.rebind(false)
	})
	if r.gateway != nil {
		r.gateway.restartLocked(0)
	}
}

// isDown reports whether the link carries nothing now.
func (l *pipe) isDown(at int64) bool {
	if at < l.downUntil {
		return true
	}
	return l.DownEvery > 0 && at%int64(l.DownEvery) >= int64(l.DownEvery-l.DownFor)
}
