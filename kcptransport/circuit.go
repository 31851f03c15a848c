package kcptransport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of circuits that end at this node.
const (
	maxPeerCircuits = 8    // to one peer
	maxCircuits     = 4096 // in all
	maxVia          = 8    // relays that a circuit tells of

	relayPrefix = 1 + 4   // bytes in front of a relayed packet: type, circuit
	transitBit  = 1 << 31 // of a label: the circuit goes on from the node that gave it
)

// Forwarder carries on packets of circuits that do not end at this node. See [Config.Forwarder].
type Forwarder interface {
	// Forward gets relayed packets, in the order of their arrival: a type byte, the label of a circuit in 4 bytes, and
	// what is carried. It is called by the goroutine that reads the socket, so it must not wait for anything. It may
	// change the packets; it must not keep them, nor the slices.
	Forward(packets [][]byte, from []netip.AddrPort)
}

// Hop is what a relay needs to know of a link: where the peer is. It is made to be asked for every packet, by any goroutine.
type Hop interface {
	Peer() PeerID
	// Addr returns where packets to the peer go: the direct path in use. It is invalid when there is none.
	Addr() netip.AddrPort
	// From reports whether addr is one at which the peer was found to be.
	From(addr netip.AddrPort) bool
}

// hop is the address book of a link for others. Its zero value knows nothing.
type hop struct {
	peer PeerID
	view atomic.Pointer[hopView]
}

type hopView struct {
	addr  netip.AddrPort
	known []netip.AddrPort
}

func (h *hop) Peer() PeerID { return h.peer }

func (h *hop) Addr() netip.AddrPort {
	if v := h.view.Load(); v != nil {
		return v.addr
	}
	return netip.AddrPort{}
}

func (h *hop) From(addr netip.AddrPort) bool {
	v := h.view.Load()
	return v != nil && (addr == v.addr || slices.Contains(v.known, addr))
}

// show tells of the direct paths among those of the link that the peer is known to be at.
func (h *hop) show(t *pathTable) {
	v := &hopView{}
	for _, e := range t.paths {
		if e.path.Direct() && e.proven {
			v.known = append(v.known, e.path.Addr)
		}
	}
	if t.inUse != nil && t.inUse.path.Direct() {
		v.addr = t.inUse.path.Addr
	} else if e := t.best(func(e *pathEntry) bool { return e.path.Direct() }); e != nil {
		v.addr = e.path.Addr
	}
	if old := h.view.Load(); old == nil || old.addr != v.addr || !slices.Equal(old.known, v.known) {
		h.view.Store(v)
	}
}

// Hop returns where the peer is, for who relays packets to it. It stays true while the link lives, and then knows no address.
func (l *Link) Hop() Hop { return &l.hop }

// Circuit is this node's end of a circuit: a way to a peer through relays. Its methods may be called from any goroutine.
type Circuit struct {
	ep    *Endpoint
	peer  PeerID
	via   *Link
	label uint32 // on what comes
	addr  netip.AddrPort

	heard atomic.Bool // something authentic of the peer came by it

	mu     sync.Mutex // of what follows, but only the first Open counts
	opened atomic.Bool
	closed bool
	leaves bool
	remote uint32 // on what leaves
	rtt    time.Duration
	relays []PeerID
}

// errCircuitPath is why a circuit cannot begin at a link.
var errCircuitPath = errors.New("there is no direct path to its first relay")

// NewCircuit prepares our end of a circuit to peer whose first relay, the peer of via, is reached directly. Nothing is sent
// before [Circuit.Open]. There are at most 8 to a peer.
func (e *Endpoint) NewCircuit(peer PeerID, via *Link) (*Circuit, error) {
	c := &Circuit{ep: e, peer: peer, via: via, addr: via.hop.Addr()}
	var err error
	switch {
	case peer == e.ID() || peer == via.peer || peer.IsZero():
		err = errors.New("it would end where it begins")
	case !c.addr.IsValid():
		err = errCircuitPath
	default:
		err = e.circuits.add(c, e.cfg.Rand)
	}
	if err != nil {
		return nil, fmt.Errorf("kcptransport: circuit to %s by way of %s: %w", peer.Short(), via.peer.Short(), err)
	}
	return c, nil
}

// Label returns what the first relay has to put on packets for us.
func (c *Circuit) Label() uint32 { return c.label }

// Path returns the circuit as a path: the address is that of the first relay when the circuit was made.
func (c *Circuit) Path() Path { return Path{Addr: c.addr, Circuit: c.label} }

// Heard reports whether anything came by the circuit that only the peer can have sent. Until then that the circuit leads to it
// is the word of the relays.
func (c *Circuit) Heard() bool { return c.heard.Load() }

// hears records that a handshake or a packet of the link to peer came by the circuit.
func (c *Circuit) hears(peer PeerID) {
	if c != nil && c.peer == peer && !c.heard.Load() {
		c.heard.Store(true)
	}
}

// Open makes the circuit a path of the link to the peer, at once or as soon as there is one. remote is the label that the
// first relay wants on what we send, rtt how long a packet to the peer and its answer take, 0 when that is not known, and relays
// are those on the way, ours first. Only the first call counts.
func (c *Circuit) Open(remote uint32, rtt time.Duration, relays []PeerID) {
	c.mu.Lock()
	if c.closed || c.opened.Load() || remote == 0 {
		c.mu.Unlock()
		return
	}
	c.remote, c.rtt, c.relays = remote, max(rtt, 0), slices.Clone(relays[:min(len(relays), maxVia)])
	c.opened.Store(true)
	c.mu.Unlock()
	if l := c.ep.table.link(c.peer); l != nil {
		l.inbox.put(circuitMessage{c})
	}
}

// Leave has the link use another circuit, if there is one that answers, since this one will soon be closed. What comes by it still counts.
func (c *Circuit) Leave() {
	c.mu.Lock()
	c.leaves = true
	c.mu.Unlock()
	if l := c.ep.table.link(c.peer); l != nil {
		l.inbox.put(circuitMessage{c})
	}
}

// Close takes the path from the link.
func (c *Circuit) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if c.ep.circuits.remove(c) {
		if l := c.ep.table.link(c.peer); l != nil {
			l.inbox.put(circuitMessage{c})
		}
	}
}

// Send sends a handshake packet to the peer. It is how a circuit is a [Signal].
func (c *Circuit) Send(packet []byte) error {
	to := c.via.hop.Addr()
	if !c.opened.Load() || !to.IsValid() {
		return fmt.Errorf("kcptransport: circuit to %s: %w", c.peer.Short(), errCircuitPath)
	}
	return c.ep.WriteTo(append(c.prefix(make([]byte, 0, relayPrefix+len(packet))), packet...), to)
}

// prefix appends what stands in front of a packet of the circuit.
func (c *Circuit) prefix(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, typeRelayed), c.remote)
}

// circuitTable has the circuits that end at an endpoint.
type circuitTable struct {
	mu      sync.RWMutex
	byLabel map[uint32]*Circuit
	byPeer  map[PeerID][]*Circuit
}

func (t *circuitTable) add(c *Circuit, random io.Reader) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLabel == nil {
		t.byLabel, t.byPeer = make(map[uint32]*Circuit), make(map[PeerID][]*Circuit)
	}
	switch {
	case len(t.byLabel) >= maxCircuits:
		return fmt.Errorf("there are %d circuits already", len(t.byLabel))
	case len(t.byPeer[c.peer]) >= maxPeerCircuits:
		return fmt.Errorf("there are %d circuits to it already", maxPeerCircuits)
	}
	for {
		var b [4]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return fmt.Errorf("reading random bytes: %w", err)
		}
		c.label = binary.BigEndian.Uint32(b[:]) &^ transitBit
		if c.label != 0 && t.byLabel[c.label] == nil {
			break
		}
	}
	t.byLabel[c.label] = c
	t.byPeer[c.peer] = append(t.byPeer[c.peer], c)
	return nil
}

// remove reports whether the circuit was there.
func (t *circuitTable) remove(c *Circuit) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLabel[c.label] != c {
		return false
	}
	delete(t.byLabel, c.label)
	rest := slices.DeleteFunc(slices.Clone(t.byPeer[c.peer]), func(other *Circuit) bool { return other == c })
	if t.byPeer[c.peer] = rest; len(rest) == 0 {
		delete(t.byPeer, c.peer)
	}
	return true
}

func (t *circuitTable) find(label uint32) *Circuit {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byLabel[label]
}

// to returns the circuits to a peer, which the caller does not change.
func (t *circuitTable) to(peer PeerID) []*Circuit {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byPeer[peer]
}

// unwrap takes the prefix off a relayed packet whose circuit ends here. It reports false when the packet does not come from the
// circuit's relay, or carries what has no place in a circuit.
func (e *Endpoint) unwrap(p *inPacket) bool {
	b := p.bytes()
	c := e.circuits.find(binary.BigEndian.Uint32(b[1:]))
	if c == nil || !c.opened.Load() || !c.via.hop.From(p.from) {
		return false
	}
	p.circuit, p.marked, p.skip = c, b[0] == typeRelayedMarked, relayPrefix
	switch packetType(p.bytes()) {
	case kindData:
		return true
	case kindFirst, kindAnswer, kindFinish, kindReject:
		p.signal, p.from = c, netip.AddrPort{}
		return true
	}
	return false
}

// circuit returns the circuit that a path of this link is, nil when it is none.
func (k *linkLoop) circuit(p Path) *Circuit {
	if p.Direct() {
		return nil
	}
	for _, c := range k.circuits {
		if c.label == p.Circuit {
			return c
		}
	}
	return nil
}

// circuitChanged takes a circuit that was opened into use as a path, and one that was closed out of it.
func (k *linkLoop) circuitChanged(now time.Time, c *Circuit) {
	c.mu.Lock()
	closed, leaves, rtt, relays := c.closed, c.leaves, c.rtt, c.relays
	c.mu.Unlock()
	known := slices.Contains(k.circuits, c)
	switch {
	case closed && known:
		k.circuits = slices.DeleteFunc(k.circuits, func(other *Circuit) bool { return other == c })
		k.paths.closed(now, c.Path())
	case !closed && !known && c.opened.Load() && len(k.sessions.list) > 0:
		k.circuits = append(k.circuits, c)
		k.paths.opened(now, c.Path(), rtt, relays)
		if !k.quietUntil.IsZero() { // there is a way, and the direct ones stay silent
			k.quietUntil = time.Time{}
			k.paths.forgetFailing(now)
		}
	}
	if leaves && !closed {
		k.paths.leave(now, c.Path())
	}
}
