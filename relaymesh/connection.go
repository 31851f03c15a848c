package relaymesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Side is one of the two ends of a connection.
type Side int

// The sides: that of the first neighbour given to Connect, and of the second.
const (
	SideA Side = 0
	SideB Side = 1
)

// Connection is one circuit at this relay, between two neighbours. Its methods may be called from any goroutine.
type Connection struct {
	flow
	s       *Switch
	account *account
	limits  Limits
	entries [2]*entry // of packets that come from side A, and from side B
	next    uint64    // bytes at which there is something to do: its ends are warned, later it ends; 0: never
	warned  bool
	ending  chan struct{}
	timer   *time.Timer
	err     error // why it ended
	done    chan struct{}

	packets, bytes, dropped uint64
}

// entry is one direction of a connection.
type entry struct {
	conn     *Connection
	side     Side // from which packets come
	from, to Neighbor
	label    uint32
	remote   uint32 // what to wants, 0 while that is not known
	place    place  // in the batch that is being made
}

// account is what a peer has at a switch, as long as there is a circuit that it asked for.
type account struct {
	flow
	peer                    kcptransport.PeerID
	network                 *networkAccount
	circuits                int
	packets, bytes, dropped uint64
}

// networkAccount is what the peers of a network have together.
type networkAccount struct {
	flow
	net   netip.Prefix
	peers int
}

// join counts one more peer of the network, or one less.
func (n *networkAccount) join(peers int) {
	n.peers += peers
	n.shares = min(n.peers, networkShares)
}

// When a circuit that will reach a limit is said to be ending: with a quarter of its bytes or of its time left, and no earlier than
// half a minute before its time is over. That is enough for setting up another one, with some tries. So that the bytes are, too,
// however fast they come, the last quarter of them takes two seconds at least.
const (
	warnShare = 4
	warnTime  = 30 * time.Second
	warnPace  = 2 * time.Second
)

// ErrFull is returned by Connect when there are as many circuits as there may be.
var ErrFull = errors.New("relaymesh: the relay has as many circuits as it takes")

// ErrLimit is why a connection ended that carried as many bytes, or lasted as long, as it may.
var ErrLimit = errors.New("relaymesh: the circuit has used up what it may")

// Connect makes a circuit between two neighbours. It carries nothing to a side before SetRemote. a is the one who asked for it,
// so what it carries, both ways, counts as a's. Of the limits, Circuits has no meaning here.
func (s *Switch) Connect(a, b Neighbor, l Limits) (*Connection, error) {
	c := &Connection{s: s, limits: l, next: l.Bytes - l.Bytes/warnShare, ending: make(chan struct{}), done: make(chan struct{})}
	net := network(s.cfg.Where(a))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries)/2 >= s.cfg.Circuits {
		return nil, ErrFull
	}
	for side, ends := range [2][2]Neighbor{{a, b}, {b, a}} {
		e := &entry{conn: c, side: Side(side), from: ends[0], to: ends[1]}
		if err := s.label(e); err != nil {
			c.drop()
			return nil, err
		}
		c.entries[side] = e
	}
	c.account = s.open(a.Peer(), net)
	c.flow = flow{parent: &c.account.flow, above: &c.account.flow, bucket: newBucket(l.BytesPerSecond)}
	if l.Duration > 0 {
		left := min(l.Duration/warnShare, warnTime)
		c.timer = time.AfterFunc(l.Duration-left, func() { c.expire(left) })
	}
	return c, nil
}

// expire warns the ends of a circuit that has so much time left, and ends one that has none.
func (c *Connection) expire(left time.Duration) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	switch {
	case c.err != nil:
	case left > 0:
		c.warn()
		c.timer = time.AfterFunc(left, func() { c.expire(0) })
	default:
		c.end(ErrLimit)
	}
}

// spend looks what is to be done before n more bytes are carried, or wait: whether it is time for a warning, and whether it has
// carried all it may and ends. It reports whether they may. The caller has the lock.
func (c *Connection) spend(n int) bool {
	bytes := c.bytes + uint64(c.queued+n)
	if c.next == 0 || bytes <= c.next {
		return true
	}
	c.warn()
	if bytes > c.limits.Bytes {
		c.end(ErrLimit)
		return false
	}
	c.next = c.limits.Bytes
	if rate := max(uint64(float64(c.limits.Bytes-bytes)/warnPace.Seconds()), 1); c.limits.BytesPerSecond == 0 || rate < c.limits.BytesPerSecond {
		c.bucket = newBucket(rate)
	}
	return true
}

func (c *Connection) warn() {
	if !c.warned {
		c.warned = true
		close(c.ending)
	}
}

// label gives an entry a label and enters it. The caller has the lock.
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

// open returns the account of a peer that has one more circuit. It counts with the network where the peer was at the first of them.
// The caller has the lock.
func (s *Switch) open(peer kcptransport.PeerID, net netip.Prefix) *account {
	a := s.peers[peer]
	if a == nil {
		n := s.networks[net]
		if n == nil {
			n = &networkAccount{net: net, flow: flow{parent: &s.total}}
			s.networks[net] = n
		}
		n.join(1)
		a = &account{peer: peer, network: n, flow: flow{parent: &n.flow, above: &s.total, bucket: newBucket(s.cfg.BytesPerSecondPerPeer)}}
		s.peers[peer] = a
	}
	a.circuits++
	return a
}

// leave counts one circuit less of a peer. The caller has the lock.
func (s *Switch) leave(a *account) {
	if a.circuits--; a.circuits > 0 {
		return
	}
	delete(s.peers, a.peer)
	if a.network.join(-1); a.network.peers == 0 {
		delete(s.networks, a.network.net)
	}
}

// LabelFor returns what the neighbour of a side has to put on packets that it sends here.
func (c *Connection) LabelFor(side Side) uint32 { return c.entries[side].label }

// SetRemote says which label the neighbour of a side wants on packets sent to it. Until then they are dropped.
func (c *Connection) SetRemote(side Side, label uint32) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.entries[1-side].remote = label
}

// Carried returns how many packets and bytes the circuit has carried, both ways, without those that wait.
func (c *Connection) Carried() (packets, bytes uint64) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.packets, c.bytes
}

// Ending is closed before the circuit reaches a limit of its bytes or its time: while there is a quarter of them left, or half a minute.
func (c *Connection) Ending() <-chan struct{} { return c.ending }

// Done is closed when the connection has ended.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Err tells why the connection ended: with [ErrLimit], or with [net.ErrClosed] after Close. It is nil before that.
func (c *Connection) Err() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.err
}

// Close ends the connection. What waits is dropped.
func (c *Connection) Close() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.end(net.ErrClosed)
}

// end ends the connection, unless it has ended. The caller has the lock.
func (c *Connection) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	c.s.discard(&c.flow)
	c.drop()
	c.s.leave(c.account)
	close(c.done)
}

// drop takes the entries out. The caller has the lock.
func (c *Connection) drop() {
	for _, e := range c.entries {
		if e != nil {
			delete(c.s.entries, e.label)
		}
	}
}
