package relaymesh

import (
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// What one peer, and the peers of one network, may have at a relay.
const (
	circuitsPerPeer    = 256  // another relay in front of us asks for many
	circuitsPerNetwork = 1024 // of an IPv4 /24 or an IPv6 /48: what one customer may easily have
	asksPerSecond      = 10
	asksBurst          = 512

	banAfter  = 10 // requests that make no sense
	banFirst  = time.Minute
	banMost   = 24 * time.Hour
	banForget = time.Hour // after the last of them, and the end of a ban
	banPeers  = 4096      // that are kept in mind
)

// relayQuota decides whether a peer may have one more circuit. It is pure: now comes from outside, and the caller locks.
type relayQuota struct {
	asks                *quota
	perPeer, perNetwork int
	peers               map[kcptransport.PeerID]int // circuits that each asked for
	networks            map[netip.Prefix]int
	offenders           map[kcptransport.PeerID]*offender
}

// offender is a peer whose requests made no sense.
type offender struct {
	strikes int
	bans    int
	until   time.Time // banned
	last    time.Time
}

func newRelayQuota(perPeer, perNetwork int) *relayQuota {
	return &relayQuota{
		asks:    newQuota(IntroducerConfig{Rate: asksPerSecond, Burst: asksBurst}.withDefaults()),
		perPeer: limitOr(perPeer, circuitsPerPeer), perNetwork: limitOr(perNetwork, circuitsPerNetwork),
		peers: map[kcptransport.PeerID]int{}, networks: map[netip.Prefix]int{}, offenders: map[kcptransport.PeerID]*offender{},
	}
}

// network returns the network that an address is counted with.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, _ := addr.Prefix(bits) // of no address: no prefix, which is counted like one
	return p
}

// ask counts a request, whether something comes of it or not, so that asking costs the one who asks.
func (q *relayQuota) ask(now time.Time, from kcptransport.PeerID) RefuseCode {
	if o := q.offenders[from]; o != nil && now.Before(o.until) {
		return RefusedRate
	}
	return q.asks.request(now, from)
}

// begin admits a circuit that a peer in a network asks for, or tells why not. After 0 the caller calls end when it is over.
func (q *relayQuota) begin(from kcptransport.PeerID, net netip.Prefix) RefuseCode {
	if q.peers[from] >= q.perPeer || q.networks[net] >= q.perNetwork {
		return RefusedBusy
	}
	q.peers[from]++
	q.networks[net]++
	return 0
}

func (q *relayQuota) end(from kcptransport.PeerID, net netip.Prefix) {
	decrease(q.peers, from)
	decrease(q.networks, net)
}

// nonsense counts a request that made no sense. A peer that goes on is banned, each time for twice as long.
func (q *relayQuota) nonsense(now time.Time, from kcptransport.PeerID) {
	o := q.offenders[from]
	if o != nil && now.Sub(o.last) > banForget && now.Sub(o.until) > banForget {
		*o = offender{}
	}
	if o == nil {
		if len(q.offenders) >= banPeers {
			q.forgive(now)
		}
		if len(q.offenders) >= banPeers {
			return // the rate at which they may ask holds
		}
		o = &offender{}
		q.offenders[from] = o
	}
	o.last = now
	if o.strikes++; o.strikes >= banAfter {
		o.until = now.Add(min(banFirst<<min(o.bans, 16), banMost))
		o.strikes = 0
		o.bans++
	}
}

// forgive forgets those who have done nothing for long.
func (q *relayQuota) forgive(now time.Time) {
	for id, o := range q.offenders {
		if now.Sub(o.last) > banForget && now.Sub(o.until) > banForget {
			delete(q.offenders, id)
		}
	}
}
