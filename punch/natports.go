package punch

import (
	"math"
	"net/netip"
	"slices"
)

const (
	minParity = 5    // samples, so that chance alone keeps the parity of all in 1 of 32 cases
	maxGap    = 32   // mappings that others may make between two of ours
	minBlock  = 64   // ports; a NAT with fewer is better described by its step
	maxBlock  = 4096 // ports; the largest that carriers give to a customer
)

// inferPorts says what happens to the port. One socket counts once for each address it was seen at.
func inferPorts(seen []sighting) Belief[Ports] {
	preserved, parity := 0, 0
	seen = distinctMappings(seen)
	for _, s := range seen {
		if s.mapped.Port() == s.local {
			preserved++
		}
		if (s.mapped.Port()^s.local)&1 == 0 {
			parity++
		}
	}
	n := len(seen)
	switch {
	case n == 0:
		return Belief[Ports]{}
	case 2*preserved > n: // one moved away because it was taken, or somebody lies
		return Belief[Ports]{PortsPreserved, sure(preserved) * float64(preserved) / float64(n)}
	case parity == n && n-preserved >= minParity:
		return Belief[Ports]{PortsParityKept, min(maxSure, 1-math.Pow(0.5, float64(n)))}
	}
	return Belief[Ports]{PortsChanged, sure(n-preserved) * float64(n-preserved) / float64(n)}
}

// distinctMappings keeps each mapping of each socket once, in order.
func distinctMappings(seen []sighting) (out []sighting) {
	for _, s := range seen {
		if !slices.ContainsFunc(out, func(o sighting) bool { return o.local == s.local && o.mapped == s.mapped }) {
			out = append(out, s)
		}
	}
	return out
}

// inferStep says how the ports of new mappings follow each other, from samples in the order in which they were made. Others
// make mappings in between, so that the distances are multiples; three of four must be such.
func inferStep(ports []uint16) Belief[int] {
	var distances []int
	for i := 1; i < len(ports); i++ {
		distances = append(distances, int(int16(ports[i]-ports[i-1]))) // round the end of the range
	}
	best, bestFits := 0, 0
	for _, step := range distances {
		if step == 0 {
			continue
		}
		fits := 0
		for _, d := range distances {
			if d%step == 0 && d/step >= 1 && d/step <= maxGap {
				fits++
			}
		}
		if fits > bestFits || fits == bestFits && max(step, -step) > max(best, -best) {
			best, bestFits = step, fits
		}
	}
	if n := len(distances); n < 3 || 4*bestFits < 3*n {
		return Belief[int]{}
	}
	return Belief[int]{best, sure(bestFits-1) * float64(bestFits) / float64(len(distances))}
}

// inferBlock says from which range the ports come: the smallest aligned one that has all of four samples or more, but for
// a quarter that are far away. A range that is not aligned is widened by what the ports' distances suggest.
func inferBlock(ports []uint16) Belief[PortRange] {
	sorted := slices.Clone(ports)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	total := len(sorted)
	if total < 4 {
		return Belief[PortRange]{}
	}
	median := int(sorted[total/2])
	near := slices.DeleteFunc(sorted, func(p uint16) bool { return max(int(p)-median, median-int(p)) >= maxBlock })
	n := len(near)
	if n < 4 || 4*n < 3*total {
		return Belief[PortRange]{}
	}
	first, last := int(near[0]), int(near[n-1])
	// All n ports lie in one half of a range, so that it seems smaller than it is, in one of 2^(n-1) cases.
	confidence := min(maxSure, 1-math.Pow(0.5, float64(n-1))) * float64(n) / float64(total)
	for size := minBlock; size <= maxBlock; size *= 2 {
		if first/size == last/size {
			start := first / size * size
			return Belief[PortRange]{PortRange{uint16(start), uint16(start + size - 1)}, confidence}
		}
	}
	margin := (last - first) / (n - 1)
	if last-first+2*margin > maxBlock {
		return Belief[PortRange]{}
	}
	return Belief[PortRange]{PortRange{uint16(max(1, first-margin)), uint16(min(65535, last+margin))}, confidence / 2}
}

// inferAddresses counts the public addresses that were seen. One witness that alone sees others is not believed.
func inferAddresses(seen []sighting) Belief[int] {
	by := map[netip.Addr]map[witness]bool{}
	witnesses := map[witness]bool{}
	for _, s := range seen {
		ip := s.mapped.Addr()
		if by[ip] == nil {
			by[ip] = map[witness]bool{}
		}
		by[ip][s.who], witnesses[s.who] = true, true
	}
	count, agree := len(by), 1.0
	for ip, who := range by {
		if len(witnesses) > 2 && len(who) == len(witnesses)-1 && oddOneOut(by, ip) {
			count, agree = 1, float64(len(who))/float64(len(witnesses))
		}
	}
	if count == 0 {
		return Belief[int]{}
	}
	return Belief[int]{count, sure(len(distinctMappings(seen))) * agree}
}

// oddOneOut reports whether those who saw an address saw no other one.
func oddOneOut(by map[netip.Addr]map[witness]bool, address netip.Addr) bool {
	for ip, who := range by {
		for w := range who {
			if ip != address && by[address][w] {
				return false
			}
		}
	}
	return true
}
