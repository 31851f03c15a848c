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
	floodRate = 50 // requests beyond the rate, refused in one second, …
	floodTime = 30 // … in each of so many seconds in a row
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

// offender is a peer whose requests made no sense, or that goes on asking whatever it is told.
type offender struct {
	strikes int
	bans    int
	until   time.Time // banned
	last    time.Time

	second  int64 // since 1970, in which it was refused last for asking too much
	refused int   // in that second
	seconds int   // before that, in a row, in which there was a flood
}

// newRelayQuota returns one that lets a peer have as many circuits as a relay does by default.
func newRelayQuota(perNetwork int) *relayQuota {
	return &relayQuota{
		asks:    newQuota(IntroducerConfig{Rate: asksPerSecond, Burst: asksBurst}.withDefaults()),
		perPeer: circuitsPerPeer, perNetwork: limitOr(perNetwork, circuitsPerNetwork),
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
	if q.banned(now, from) {
		return RefusedRate
	}
	return q.asks.request(now, from)
}

func (q *relayQuota) banned(now time.Time, from kcptransport.PeerID) bool {
	o := q.offenders[from]
	return o != nil && now.Before(o.until)
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
	o := q.offend(now, from)
	if o == nil {
		return
	}
	if o.strikes++; o.strikes >= banAfter {
		o.ban(now)
	}
}

// flood counts a request of a peer's own that was refused because it asks too much. Who has a lot to ask for does so at once, or
// little by little; only who is refused all the time for half a minute and goes on is banned, as for nonsense.
func (q *relayQuota) flood(now time.Time, from kcptransport.PeerID) {
	o := q.offend(now, from)
	if o == nil || now.Before(o.until) {
		return
	}
	if second := now.Unix(); second != o.second {
		flooded := second == o.second+1 && o.refused >= floodRate
		if o.seconds++; !flooded {
			o.seconds = 0
		}
		o.second, o.refused = second, 0
	}
	if o.refused++; o.refused >= floodRate && o.seconds+1 >= floodTime {
		o.ban(now)
	}
}

// ban begins a ban, twice as long as the last one.
func (o *offender) ban(now time.Time) {
	o.until = now.Add(min(banFirst<<min(o.bans, 16), banMost))
	o.strikes, o.refused, o.seconds = 0, 0, 0
	o.bans++
}

// offend returns the entry of a peer that does what it should not, or nil when there is room for no more of them.
func (q *relayQuota) offend(now time.Time, from kcptransport.PeerID) *offender {
	o := q.offenders[from]
	if o != nil && now.Sub(o.last) > banForget && now.Sub(o.until) > banForget {
		*o = offender{}
	}
	if o == nil {
		if len(q.offenders) >= banPeers {
			q.forgive(now)
		}
		if len(q.offenders) >= banPeers {
			return nil // the rate at which they may ask holds
		}
		o = &offender{}
		q.offenders[from] = o
	}
	o.last = now
	return o
}

// forgive forgets those who have done nothing for long.
func (q *relayQuota) forgive(now time.Time) {
	for id, o := range q.offenders {
		if now.Sub(o.last) > banForget && now.Sub(o.until) > banForget {
			delete(q.offenders, id)
		}
	}
}
