package relaymesh

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// What a relayed packet begins with: a type, the second one if a relay on the way had too much to carry, and a label.
const (
	typeRelayed       = 0xD0
	typeRelayedMarked = 0xD1
	relayPrefix       = 1 + 4
	transitBit        = 1 << 31 // of a label that a switch gave
)

// Neighbor is a peer next to a relay. A [kcptransport.Hop] is one. It is asked for nearly every packet, with locks held: it must
// not wait for anything.
type Neighbor interface {
	Peer() kcptransport.PeerID
	// Addr returns where packets to it go, an invalid address when that is not known.
	Addr() netip.AddrPort
	// From reports whether addr is one at which it was found to be.
	From(addr netip.AddrPort) bool
}

// SwitchConfig says how a [Switch] works. Zero means the default.
type SwitchConfig struct {
	// Write sends datagrams from the node's socket; required. See [kcptransport.PacketConn]. Two goroutines may call it at
	// once: those in Forward and in Run.
	Write func(bufs [][]byte, addrs []netip.AddrPort) (int, error)

	// Congested reports whether what Write is given for an address waits for long behind it: such packets are marked. It is asked
	// with locks held, and must not wait for anything. Default: never.
	Congested func(to netip.AddrPort) bool

	// Where returns the IP address of a neighbour, by which the network is told that it shares with. Default: that of where packets to it
	// go. See [RelayConfig].
	Where func(Neighbor) netip.Addr

	// Rand is the source of labels. Default crypto/rand.
	Rand io.Reader

	// Circuits is how many there may be at once. Default 4,096, negative means no limit.
	Circuits int

	// BytesPerSecond limits what is carried in all, without IP and UDP headers. A packet counts once. 0 means no limit.
	BytesPerSecond uint64

	// BytesPerSecondPerPeer limits what is carried on all circuits that one peer asked for, both ways together. 0 means no limit.
	BytesPerSecondPerPeer uint64

	// QueuePackets is how many packets may wait in all, because of a limit, before some are dropped. Each takes 1.5 kB, which
	// is kept for others. Default 2,048.
	QueuePackets int
}

const (
	defaultCircuits = 4096
	defaultQueue    = 2048
	forwardBatch    = 64
)

// Switch carries packets of circuits on: it swaps the label in front of them and sends them to the next hop. It looks at nothing
// else of them. It is a [kcptransport.Forwarder].
//
// Packets leave at once, from the buffers they came in, as long as no limit is reached; those of a batch that belong to one circuit
// leave together. Those that a limit holds back wait in
// the queue of their circuit, at most 20 ms (40 ms where a limit is so low that four packets take as long), until [Switch.Run] sends
// them: the peers that asked for circuits share what there is
// evenly, and so do the circuits of a peer; those of one IPv4 /24 or IPv6 /48 share as if they were 16 at most. What is too much is
// dropped where most waits. A packet that waited more than 5 ms, and longer than one takes at the limit, or before which another was dropped, is marked, so that its
// sender slows down.
//
// Forward is called by one goroutine at a time, the other methods by any.
type Switch struct {
	cfg SwitchConfig

	mu       sync.Mutex // held for a batch at a time, but not while it is written
	entries  map[uint32]*entry
	peers    map[kcptransport.PeerID]*account
	networks map[netip.Prefix]*networkAccount
	total    flow
	free     *waiting // buffers that nothing waits in
	made     int      // buffers in all
	due      time.Time
	stats    SwitchStats
	told     uint64 // the most packets that Stats told: counters do not fall, and writing may fail after that
	batches  uint64 // that were made

	wake chan struct{} // tells Run that something is due before it expects that

	out parcels // of Forward
}

// NewSwitch returns a switch without circuits.
func NewSwitch(cfg SwitchConfig) (*Switch, error) {
	if cfg.Write == nil {
		return nil, errors.New("relaymesh: making a switch: SwitchConfig.Write is missing")
	}
	if cfg.Congested == nil {
		cfg.Congested = func(netip.AddrPort) bool { return false }
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Where == nil {
		cfg.Where = func(n Neighbor) netip.Addr { return n.Addr().Addr() }
	}
	cfg.Circuits = limitOr(cfg.Circuits, defaultCircuits)
	if cfg.QueuePackets <= 0 {
		cfg.QueuePackets = defaultQueue
	}
	return &Switch{
		cfg: cfg, entries: map[uint32]*entry{}, peers: map[kcptransport.PeerID]*account{}, networks: map[netip.Prefix]*networkAccount{},
		total: flow{bucket: newBucket(cfg.BytesPerSecond)}, wake: make(chan struct{}, 1),
	}, nil
}

// SetLimits changes the limits of the config while the switch works, with the same meanings. Circuits that are too many by it
// go on.
func (s *Switch) SetLimits(total, perPeer uint64, circuits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.BytesPerSecond, s.cfg.BytesPerSecondPerPeer, s.cfg.Circuits = total, perPeer, limitOr(circuits, defaultCircuits)
	s.total.bucket = newBucket(total)
	for _, a := range s.peers {
		a.bucket = newBucket(perPeer)
	}
	// What waits may wait for nothing now.
	s.due = time.Now()
	s.signal()
}

// peerRate returns the bytes a second that one peer gets at most; 0 means no limit.
func (s *Switch) peerRate() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return narrower(s.cfg.BytesPerSecond, s.cfg.BytesPerSecondPerPeer)
}

// Forward implements [kcptransport.Forwarder].
func (s *Switch) Forward(packets [][]byte, from []netip.AddrPort) {
	for len(packets) > 0 {
		n := min(len(packets), forwardBatch)
		s.swap(time.Now(), packets[:n], from[:n])
		s.unwritten(s.out.write(s.cfg.Write))
		packets, from = packets[n:], from[n:]
	}
}

// swap prepares what may be sent on at once, and lets wait what may not.
func (s *Switch) swap(now time.Time, packets [][]byte, from []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	s.out.number = s.batches
	r := run{lost: &s.stats.Unknown} // of nothing
	for i, p := range packets {
		if len(p) <= relayPrefix || p[0] != typeRelayed && p[0] != typeRelayedMarked {
			s.stats.Unknown++
			continue
		}
		if label := binary.BigEndian.Uint32(p[1:]); label != r.label || from[i] != r.from {
			s.settle(&r)
			r = s.begin(now, label, from[i])
		}
		switch {
		case r.lost != nil:
			*r.lost++
			continue
		case len(p) <= r.credit:
			r.credit -= len(p)
			r.packets++
			r.bytes += len(p)
		default:
			if !s.ask(now, &r, p) {
				continue
			}
		}
		binary.BigEndian.PutUint32(p[1:], r.entry.remote)
		if r.congested && p[0] == typeRelayed {
			p[0] = typeRelayedMarked
			s.stats.Marked++
		}
		s.out.add(&r.entry.place, p, r.to)
	}
	s.settle(&r)
}
