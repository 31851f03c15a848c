package punch

import (
	"net/netip"
	"slices"

	"github.com/2xppg/xppg/kcptransport"
)

// sighting is one answer to the question "from which address did my packet come?".
type sighting struct {
	by     netip.AddrPort // who saw it; invalid for a peer that is reached in another way than directly
	mapped netip.AddrPort
	local  uint16 // the port of the socket that sent
	who    witness
}

// witness is somebody who lies, if at all, in all answers: whoever is at one address, or a peer whose address is not
// known.
type witness struct {
	addr netip.Addr
	peer kcptransport.PeerID
}

// The model that inferMapping weighs sightings by. Its figures are what one would bet before asking, and need not be exact:
// they decide how many must agree until they are believed.
const (
	priorIndependent = 0.75
	priorAddress     = 0.05
	priorPort        = 0.2
	liar             = 0.02 // a witness says anything: it lies, its network has a proxy, the mapping moved for a reason
	luck             = 0.03 // a mapping that depends on the destination has the same port for another one
)

// inferMapping says which mapping the sightings make likely (Bayes' rule). Two sightings at different addresses are needed.
// One witness against two that agree does not convince, nor does a server that contradicts itself against
// others that agree.
func inferMapping(seen []sighting, host func(netip.Addr) bool) Belief[Behaviour] {
	if b := untranslated(seen, host); b.Confidence > 0 {
		return b
	}
	if !canCompare(seen) {
		return Belief[Behaviour]{}
	}
	odds := map[Behaviour]float64{
		EndpointIndependent:     priorIndependent * likelihood(seen, independentLuck(seen)),
		AddressDependent:        priorAddress * likelihood(seen, dependentLuck(seen, false)),
		AddressAndPortDependent: priorPort * likelihood(seen, dependentLuck(seen, true)),
	}
	best, sum := EndpointIndependent, 0.0
	for _, b := range []Behaviour{EndpointIndependent, AddressDependent, AddressAndPortDependent} {
		if sum += odds[b]; odds[b] > odds[best] {
			best = b
		}
	}
	return Belief[Behaviour]{best, min(maxSure, odds[best]/sum)}
}

// untranslated is the belief that there is no translation: most saw the host's own address and port.
func untranslated(seen []sighting, host func(netip.Addr) bool) Belief[Behaviour] {
	yes := 0
	for _, s := range seen {
		if host(s.mapped.Addr()) && s.mapped.Port() == s.local {
			yes++
		}
	}
	if 2*yes <= len(seen) {
		return Belief[Behaviour]{}
	}
	return Belief[Behaviour]{NoTranslation, sure(yes+1) * float64(yes) / float64(len(seen))}
}

// canCompare reports whether a socket was seen from two addresses, or at two ports by different ones: one address
// that sees the same at two ports may be address-dependent or not.
func canCompare(seen []sighting) bool {
	for i, a := range seen {
		for _, b := range seen[:i] {
			if a.local == b.local && (!a.by.IsValid() || a.by.Addr() != b.by.Addr() || a.mapped != b.mapped) && a != b {
				return true
			}
		}
	}
	return false
}

// likelihood multiplies, over the witnesses, how likely it is that they say what they say, given for each sighting how
// likely it is when they are honest.
func likelihood(seen []sighting, honest []float64) float64 {
	product := map[witness]float64{}
	for i, s := range seen {
		if _, known := product[s.who]; !known {
			product[s.who] = 1 - liar
		}
		product[s.who] *= honest[i]
	}
	all := 1.0
	for _, p := range product {
		all *= p + liar
	}
	return all
}

// independentLuck: all see the same. Which one that is the most witnesses decide.
func independentLuck(seen []sighting) []float64 {
	out := make([]float64, len(seen))
	for i, s := range seen {
		if s.mapped == plurality(seen, s.local) {
			out[i] = 1
		}
	}
	return out
}

// plurality is the mapping of a socket that most witnesses saw, of two the one that was seen first.
func plurality(seen []sighting, local uint16) (best netip.AddrPort) {
	votes := map[netip.AddrPort]map[witness]bool{}
	for _, s := range seen {
		if s.local != local {
			continue
		}
		if votes[s.mapped] == nil {
			votes[s.mapped] = map[witness]bool{}
		}
		votes[s.mapped][s.who] = true
		if !best.IsValid() {
			best = s.mapped
		}
	}
	for _, s := range seen {
		if len(votes[s.mapped]) > len(votes[best]) {
			best = s.mapped
		}
	}
	return best
}

// dependentLuck: each other destination (address and port with byPort, else address) has its own mapping, which is
// like one before by luck only.
func dependentLuck(seen []sighting, byPort bool) []float64 {
	out := make([]float64, len(seen))
	for i, s := range seen {
		out[i] = 1
		earlier := slices.DeleteFunc(slices.Clone(seen[:i]), func(e sighting) bool { return e.local != s.local })
		same := slices.IndexFunc(earlier, func(e sighting) bool {
			return e.who == s.who && e.by.Addr() == s.by.Addr() && (!byPort || e.by == s.by)
		})
		switch {
		case same >= 0 && earlier[same].mapped == s.mapped, len(earlier) == 0:
		case same >= 0:
			out[i] = 0
		case slices.ContainsFunc(earlier, func(e sighting) bool { return e.mapped == s.mapped }):
			out[i] = luck
		default:
			out[i] = 1 - luck
		}
	}
	return out
}
