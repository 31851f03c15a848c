package punch

import (
	"net/netip"
	"slices"

	"github.com/2xppg/xppg/kcptransport"
)

// maxMapped is how many mapped addresses are told: one for IPv4, one for IPv6.
const maxMapped = 2

// Mapped takes in at which addresses routers let others through to the socket, instead of those before.
func (g *Gatherer) Mapped(addrs []netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mapped = slices.Clone(addrs[:min(len(addrs), maxMapped)])
}

// mappedCandidates returns them.
func (g *Gatherer) mappedCandidates() (out []kcptransport.Candidate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, a := range g.mapped {
		out = append(out, candidate(kcptransport.PortMapped, n, unmap(a)))
	}
	return out
}
