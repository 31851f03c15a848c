package netsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// A DropReason says why a packet did not arrive.
type DropReason uint8

// The reasons.
const (
	DropLoss        DropReason = iota // the link loses packets at random
	DropQueue                         // the link's queue was full
	DropMTU                           // larger than the link carries
	DropTTL                           // its time to live ran out
	DropNoRoute                       // nobody has the address, and there is no router
	DropNoMapping                     // a NAT knows of no mapping for the address
	DropFiltered                      // a NAT or firewall lets only others in
	DropNoPort                        // a NAT has no port left
	DropHairpin                       // to its own NAT's outside, which does not turn packets round
	DropNoSocket                      // no socket listens on the port
	DropBuffer                        // the socket's receive buffer was full
	DropPartitioned                   // the two hosts are kept apart
	DropClosed                        // under way when the network was closed
	DropBlocked                       // a router lets no UDP through
	DropCorrupt                       // a bit flipped in its headers
	DropLinkDown                      // the link was down
	DropHostDown                      // the host has crashed
	DropBlockedTCP                    // a router lets TCP go to other ports only
	dropReasons
)

var dropNames = [dropReasons]string{
	DropLoss: "loss", DropQueue: "queue", DropMTU: "mtu", DropTTL: "ttl", DropNoRoute: "no route",
	DropNoMapping: "no mapping", DropFiltered: "filtered", DropNoPort: "no port", DropHairpin: "hairpin",
	DropNoSocket: "no socket", DropBuffer: "buffer", DropPartitioned: "partitioned", DropClosed: "closed",
	DropBlocked: "udp blocked", DropCorrupt: "corrupt",
	DropLinkDown: "link down", DropHostDown: "host down", DropBlockedTCP: "tcp blocked",
}

// String returns the reason's name.
func (r DropReason) String() string {
	if r < dropReasons {
		return dropNames[r]
	}
	return fmt.Sprintf("DropReason(%d)", uint8(r))
}

// Stats counts what became of the packets of a network.
type Stats struct {
	Sent       uint64 // written to sockets
	Duplicated uint64 // made by links. These and Sent are the sum of all below
	Delivered  uint64 // put into the receive buffer of a socket
	UnderWay   uint64 // on links, or just written
	Dropped    map[DropReason]uint64
}

// ledger accounts for every packet.
type ledger struct {
	sent, duplicated, delivered uint64
	dropped                     [dropReasons]uint64
	digest                      uint64
}

func (l *ledger) lost() (sum uint64) {
	for _, d := range l.dropped {
		sum += d
	}
	return sum
}

// check returns an error when a packet is unaccounted for. Nothing must be
// under way.
func (l *ledger) check() error {
	if l.sent+l.duplicated == l.delivered+l.lost() {
		return nil
	}
	var b strings.Builder
	for r, d := range l.dropped {
		if d > 0 {
			fmt.Fprintf(&b, ", %d %s", d, DropReason(r))
		}
	}
	return fmt.Errorf("netsim: the ledger does not balance: %d sent, %d duplicated, %d delivered%s",
		l.sent, l.duplicated, l.delivered, b.String())
}

// fate is what happens to a packet at one moment.
type fate uint64

const (
	fateSent fate = iota
	fateDelivered
	fateDropped // the first of as many as there are reasons

	fateDuplicated fate = 1 << 8
)

// note mixes what happens to a packet, and when, into the digest.
func (l *ledger) note(at int64, p *packet, what fate) {
	l.mix(uint64(at))
	l.mix(uint64(what))
	l.mixAddr(p.src)
	l.mixAddr(p.dst)
	l.mix(uint64(len(p.data))<<32 | uint64(p.sum))
	if p.isTCP() {
		l.mix(p.tcp.seq)
		l.mix(p.tcp.ack<<8 | uint64(p.tcp.flags))
	}
}

func (l *ledger) mixAddr(a netip.AddrPort) {
	b := a.Addr().As16()
	l.mix(binary.BigEndian.Uint64(b[:8]))
	l.mix(binary.BigEndian.Uint64(b[8:]) ^ uint64(a.Port())<<48)
}

// mix is the finaliser of SplitMix64 over what there was and what comes.
func (l *ledger) mix(x uint64) {
	z := (l.digest ^ x) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	l.digest = z ^ z>>31
}

// Digest returns a hash of every packet sent, duplicated, delivered and dropped so far:
// time, addresses, length, content and fate. Equal digests mean equal histories.
func (n *Network) Digest() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ledger.digest
}

// Stats returns the counts so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{
		Sent: n.ledger.sent, Duplicated: n.ledger.duplicated, Delivered: n.ledger.delivered,
		UnderWay: uint64(n.arrivals.packets + n.outbox.waiting()), Dropped: map[DropReason]uint64{},
	}
	for r, d := range n.ledger.dropped {
		if d > 0 {
			s.Dropped[DropReason(r)] = d
		}
	}
	return s
}
