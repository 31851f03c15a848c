package relaymesh

import "math"

// SetLimits changes [RelayConfig.Limits] while the relay works. Circuits that there are keep those that their ends were told; peers with a reservation are
// told the new ones when they renew it.
func (r *Relay) SetLimits(l Limits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quota.perPeer = limitOr(l.Circuits, circuitsPerPeer)
	if l.Circuits = max(l.Circuits, 0); r.quota.perPeer < math.MaxInt32 {
		l.Circuits = r.quota.perPeer // is told
	}
	r.limits = l
}

// limitsNow returns the limits of a circuit that is made now.
func (r *Relay) limitsNow() Limits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits
}

// told is what the peers are told: the limits of a circuit, and those of the switch for whoever asks for it.
func (r *Relay) told(l Limits) Limits {
	return l.narrow(Limits{BytesPerSecond: r.cfg.Switch.peerRate()})
}
