package api

import (
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// lossPrior is how many packets without loss a relay is given on trust, so that the first few lost ones do not decide.
const lossPrior = 200

// knownRelays returns what is known of the relays that wanted says, by their records and by what we measured.
func (pg *Playground) knownRelays(wanted func(*peerInfo) bool) []relaymesh.RelayInfo {
	pg.mu.Lock()
	var infos []*peerInfo
	for _, info := range pg.book.infos {
		if info.relay && !info.left && info.Peer != pg.ID() && wanted(info) {
			infos = append(infos, info)
		}
	}
	pg.mu.Unlock()
	if len(infos) == 0 {
		return nil
	}
	loss := pg.measureLoss()
	relays := make([]relaymesh.RelayInfo, 0, len(infos))
	for _, info := range infos {
		r := relaymesh.RelayInfo{ID: info.Peer, Neighbours: info.neighbours, Links: info.relays, Load: info.load, Loss: loss[info.Peer]}
		if len(info.Addrs) > 0 {
			r.Addr = info.Addrs[0].Addr()
		}
		if p, err := pg.peer(info.Peer); err == nil {
			if at := p.link.Hop().Addr(); at.IsValid() {
				r.Near, r.Addr = true, at.Addr()
				if path, ok := p.link.Path(); ok {
					r.RTT = path.RTT
				}
			}
		}
		relays = append(relays, r)
	}
	return relays
}

// nearRelays returns the relays to which there is a direct path.
func (pg *Playground) nearRelays() (near []relaymesh.RelayInfo) {
	for _, r := range pg.knownRelays(func(*peerInfo) bool { return true }) {
		if r.Near {
			near = append(near, r)
		}
	}
	return near
}

// measureLoss returns the share of packets that got lost by way of each peer, on circuits through it and on the direct path to it.
func (pg *Playground) measureLoss() map[kcptransport.PeerID]float64 {
	type count struct{ sent, lost uint64 }
	counts := map[kcptransport.PeerID]count{}
	add := func(id kcptransport.PeerID, path kcptransport.PathInfo) {
		c := counts[id]
		counts[id] = count{c.sent + path.PacketsSent, c.lost + path.PacketsLost}
	}
	for _, p := range pg.readyPeers() {
		for _, path := range p.link.Paths() {
			for _, id := range path.Via {
				add(id, path)
			}
			if path.Path.Direct() {
				add(p.id, path)
			}
		}
	}
	loss := make(map[kcptransport.PeerID]float64, len(counts))
	for id, c := range counts {
		loss[id] = float64(c.lost) / float64(c.sent+lossPrior)
	}
	return loss
}

// tellRTT returns the round trip that our record tells of a link. It stays as it is until it is quite another, so that the
// record does not change all the time.
func tellRTT(told, rtt time.Duration) time.Duration {
	if d := rtt - told; told > 0 && max(d, -d) <= told/4+5*time.Millisecond {
		return told
	}
	return rtt.Round(time.Millisecond)
}
