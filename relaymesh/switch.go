package relaymesh

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/2xppg/xppg/kcptransport"
)

// What a relayed packet begins with: a type, the second one if a relay on the way had too much to carry, and a label.
const (
	typeRelayed       = 0xD0
	typeRelayedMarked = 0xD1
	relayPrefix       = 1 + 4
	transitBit        = 1 << 31 // of a label that a switch gave
)

// Neighbor is a peer next to a relay. A [kcptransport.Hop] is one.
type Neighbor interface {
	Peer() kcptransport.PeerID
	// Addr returns where packets to it go, an invalid address when that is not known.
	Addr() netip.AddrPort
	// From reports whether addr is one at which it was found to be.
	From(addr netip.AddrPort) bool
}

// SwitchConfig says how a [Switch] works. Zero means the default.
type SwitchConfig struct {
	// Write sends datagrams from the node's socket; required. See [kcptransport.PacketConn].
	Write func(bufs [][]byte, addrs []netip.AddrPort) (int, error)

	// Rand is the source of labels. Default crypto/rand.
	Rand io.Reader

	// Circuits is how many there may be at once. Default 4,096.
	Circuits int
}

const (
	defaultCircuits = 4096
	forwardBatch    = 64
)

// SwitchStats are the counters of a [Switch] since it was made.
type SwitchStats struct {
	Circuits       int    // now
	Packets, Bytes uint64 // carried on; bytes without IP and UDP headers
	Unknown        uint64 // packets dropped because no circuit has their label
	Strange        uint64 // packets dropped because they did not come from the neighbour that the label was told
	Unready        uint64 // packets dropped because the next hop is not known yet, or any more
}

// Switch carries packets of circuits on: it swaps the label in front of them and sends them to the next hop. It looks at nothing
// else of them. It is a [kcptransport.Forwarder]. Forward is called by one goroutine at a time, the other methods by any.
type Switch struct {
	cfg SwitchConfig

	mu      sync.RWMutex
	entries map[uint32]*entry

	bufs  [forwardBatch][]byte // of Forward
	addrs [forwardBatch]netip.AddrPort

	packets, bytes, unknown, strange, unready atomic.Uint64
}

// entry is one direction of a connection.
type entry struct {
	conn   *Connection
	from   Neighbor
	to     Neighbor
	label  uint32
	remote atomic.Uint32 // what to wants, 0 while that is not known
}

// NewSwitch returns a switch without circuits.
func NewSwitch(cfg SwitchConfig) (*Switch, error) {
	if cfg.Write == nil {
		return nil, errors.New("relaymesh: making a switch: SwitchConfig.Write is missing")
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	cfg.Circuits = limitOr(cfg.Circuits, defaultCircuits)
	return &Switch{cfg: cfg, entries: map[uint32]*entry{}}, nil
}

// Side is one of the two ends of a connection.
type Side int

// The sides: that of the first neighbour given to Connect, and of the second.
const (
	SideA Side = 0
	SideB Side = 1
)

// Connection is one circuit at this relay, between two neighbours. Its methods may be called from any goroutine.
type Connection struct {
	s       *Switch
	entries [2]*entry // of packets that come from side A, and from side B
	once    sync.Once
	done    chan struct{}

	packets, bytes atomic.Uint64
}

// ErrFull is returned by Connect when there are as many circuits as there may be.
var ErrFull = errors.New("relaymesh: the relay has as many circuits as it takes")

// Connect makes a circuit between two neighbours. It carries nothing to a side before SetRemote.
func (s *Switch) Connect(a, b Neighbor) (*Connection, error) {
	c := &Connection{s: s, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries)/2 >= s.cfg.Circuits {
		return nil, ErrFull
	}
	for side, ends := range [2][2]Neighbor{{a, b}, {b, a}} {
		e := &entry{conn: c, from: ends[0], to: ends[1]}
		if err := s.label(e); err != nil {
			c.drop()
			return nil, err
		}
		c.entries[side] = e
	}
	return c, nil
}

// label gives an entry a label and enters it.
func (s *Switch) label(e *entry) error {
	for {
		var b [4]byte
		if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
			return fmt.Errorf("relaymesh: making a label: %w", err)
		}
		e.label = binary.BigEndian.Uint32(b[:]) | transitBit
		if s.entries[e.label] == nil {
			s.entries[e.label] = e
			return nil
		}
	}
}

// LabelFor returns what the neighbour of a side has to put on packets that it sends here.
func (c *Connection) LabelFor(side Side) uint32 { return c.entries[side].label }

// SetRemote says which label the neighbour of a side wants on packets sent to it. Until then they are dropped.
func (c *Connection) SetRemote(side Side, label uint32) { c.entries[1-side].remote.Store(label) }

// Carried returns how many packets and bytes the circuit has carried, both ways.
func (c *Connection) Carried() (packets, bytes uint64) { return c.packets.Load(), c.bytes.Load() }

// Done is closed when the connection has ended.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Close ends the connection.
func (c *Connection) Close() {
	c.once.Do(func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.drop()
		close(c.done)
	})
}

// drop takes the entries out. The caller has the lock.
func (c *Connection) drop() {
	for _, e := range c.entries {
		if e != nil && c.s.entries[e.label] == e {
			delete(c.s.entries, e.label)
		}
	}
}

// Forward implements [kcptransport.Forwarder].
func (s *Switch) Forward(packets [][]byte, from []netip.AddrPort) {
	for len(packets) > 0 {
		n := min(len(packets), forwardBatch)
		if out := s.swap(packets[:n], from[:n]); out > 0 {
			_, _ = s.cfg.Write(s.bufs[:out], s.addrs[:out]) // what fails is lost, as any packet may be
			clear(s.bufs[:out])
		}
		packets, from = packets[n:], from[n:]
	}
}

// swap prepares what can be sent on and returns how many packets that are.
func (s *Switch) swap(packets [][]byte, from []netip.AddrPort) (out int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, p := range packets {
		if len(p) <= relayPrefix || p[0] != typeRelayed && p[0] != typeRelayedMarked {
			s.unknown.Add(1)
			continue
		}
		e := s.entries[binary.BigEndian.Uint32(p[1:])]
		switch {
		case e == nil:
			s.unknown.Add(1)
			continue
		case !e.from.From(from[i]):
			s.strange.Add(1)
			continue
		}
		remote, to := e.remote.Load(), e.to.Addr()
		if remote == 0 || !to.IsValid() {
			s.unready.Add(1)
			continue
		}
		binary.BigEndian.PutUint32(p[1:], remote)
		s.bufs[out], s.addrs[out] = p, to
		out++
		s.packets.Add(1)
		s.bytes.Add(uint64(len(p)))
		e.conn.packets.Add(1)
		e.conn.bytes.Add(uint64(len(p)))
	}
	return out
}

// Stats returns the counters.
func (s *Switch) Stats() SwitchStats {
	s.mu.RLock()
	circuits := len(s.entries) / 2
	s.mu.RUnlock()
	return SwitchStats{
		Circuits: circuits, Packets: s.packets.Load(), Bytes: s.bytes.Load(),
		Unknown: s.unknown.Load(), Strange: s.strange.Load(), Unready: s.unready.Load(),
	}
}
