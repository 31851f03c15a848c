package punch

import (
	"net/netip"
	"slices"

	"github.com/2xppg/xppg/stunclient"
)

// Findings are what tests on spare sockets told of the NAT.
type Findings struct {
	Behaviours []stunclient.Behaviour
	Samples    []stunclient.Sample
	Hairpin    []bool // one for each server that was asked
	Lifetime   stunclient.Lifetime
}

// The bounds of Findings that are looked at.
const (
	maxBehaviours = 8
	maxSamples    = 32
)

// inferNAT draws what can be drawn from what was seen of the shared socket and found on spare ones, for IPv4. host reports
// whether an address is one of the host's own. It is a pure function.
func inferNAT(seen []sighting, found Findings, host func(netip.Addr) bool) (n NAT) {
	found.Behaviours = found.Behaviours[:min(len(found.Behaviours), maxBehaviours)]
	found.Samples = found.Samples[:min(len(found.Samples), maxSamples)]
	samples, examined := sampled(found.Samples), examined(found.Behaviours)
	all := outside(slices.Concat(seen, examined, samples))
	joinWitnesses(all, found.Behaviours)

	n.Mapping = inferMapping(all, host)
	n.Filtering = inferFiltering(found.Behaviours)
	n.Ports = inferPorts(all)
	n.Addresses = inferAddresses(all)
	if n.Ports.Is != PortsPreserved {
		// Only of the samples the order is known.
		if n.Step = inferStep(ports(samples)); n.Step.Confidence == 0 {
			n.Block = inferBlock(ports(slices.Concat(samples, examined)))
		}
	}
	n.Hairpin = inferHairpin(found.Hairpin, n)
	if l := found.Lifetime; l.Min > 0 || l.Max > 0 {
		n.Lifetime = Belief[Lifetime]{Lifetime{Millis(l.Min), Millis(l.Max)}, 0.9}
	}
	return n
}

// ports lists the outside ports of different mappings.
func ports(seen []sighting) (out []uint16) {
	for _, s := range distinctMappings(seen) {
		out = append(out, s.mapped.Port())
	}
	return out
}

// outside drops what was seen within a network when others saw a public address: a peer next to us sees no NAT.
func outside(seen []sighting) []sighting {
	public := func(s sighting) bool { return !Private(s.mapped.Addr()) }
	if !slices.ContainsFunc(seen, public) {
		return seen
	}
	return slices.DeleteFunc(seen, func(s sighting) bool { return !public(s) })
}

// joinWitnesses makes the two addresses of one server one witness.
func joinWitnesses(seen []sighting, behaviours []stunclient.Behaviour) {
	for i := range seen {
		for _, b := range behaviours {
			if b.Other.IsValid() && seen[i].by.IsValid() && seen[i].by.Addr() == b.Other.Addr() {
				seen[i].who = witness{addr: b.Server.Addr()}
				break
			}
		}
	}
}

func sampled(samples []stunclient.Sample) (out []sighting) {
	for _, s := range samples {
		if s.Mapped.Addr().Is4() {
			out = append(out, sighting{s.Server, s.Mapped, s.Local, witness{addr: s.Server.Addr()}})
		}
	}
	return out
}

func examined(behaviours []stunclient.Behaviour) (out []sighting) {
	for _, b := range behaviours {
		for _, r := range b.Sightings {
			if r.Mapped.Addr().Is4() {
				out = append(out, sighting{r.Server, r.Mapped, b.Local, witness{addr: b.Server.Addr()}})
			}
		}
	}
	return out
}

// inferFiltering: that a packet came through is hard to forge, so of several servers the one counts that got furthest.
// Silence is the NAT's work for sure only when the server was seen to be able to.
func inferFiltering(behaviours []stunclient.Behaviour) (f Belief[Behaviour]) {
	doubt := 1.0
	for _, b := range behaviours {
		if b.Filtering < stunclient.EndpointIndependent || b.Filtering > stunclient.AddressAndPortDependent {
			continue
		}
		is := EndpointIndependent + Behaviour(b.Filtering-stunclient.EndpointIndependent)
		confidence := 0.95
		if is != EndpointIndependent && !b.Verified {
			confidence = 0.6
		}
		switch {
		case f.Is == Unknown || is < f.Is:
			f.Is, doubt = is, 1-confidence
		case is == f.Is:
			doubt *= 1 - confidence
		}
	}
	if f.Is != Unknown {
		f.Confidence = min(maxSure, 1-doubt)
	}
	return f
}

func inferHairpin(turned []bool, n NAT) Belief[bool] {
	switch {
	case slices.Contains(turned, true):
		return Belief[bool]{true, maxSure}
	case len(turned) == 0:
		return Belief[bool]{}
	case n.moves(): // then the test does not hit the right port
		return Belief[bool]{false, 0.3}
	}
	return Belief[bool]{false, 0.8}
}
