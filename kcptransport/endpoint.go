package kcptransport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// acceptBacklog is how many links may wait for Accept.
const acceptBacklog = 256

// endpointClose bounds the end of each link when the endpoint closes.
var endpointClose = closeMessage{flush: 500 * time.Millisecond, limit: 950 * time.Millisecond}

// Endpoint is one node's end of all its links: it has a socket and an identity. All methods may be called from any
// goroutine.
type Endpoint struct {
	cfg        Config
	local      netip.AddrPort
	keepAlives keepAlives
	started    time.Time
	shownAll   atomic.Int64 // since then, see showAll
	table      *linkTable
	circuits   circuitTable
	shaker     *handshaker
	queued     atomic.Int64 // packets in all inboxes
	memory     memoryPool   // of the streams of all links
	accepts    chan *Link
	reading    sync.WaitGroup
	callbacks  sync.WaitGroup // goroutines that run functions given to OnPath
	closing    chan struct{}  // closed when Close begins
	closed     chan struct{}  // closed when Close is done
	once       sync.Once
	failure    atomic.Pointer[error] // why the socket cannot be read any more
}

// Listen starts an endpoint on cfg.Conn, which it owns from then on. When it fails, cfg.Conn is still the caller's.
func Listen(cfg Config) (*Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg:     cfg,
		started: time.Now(),
		table:   newLinkTable(),
		accepts: make(chan *Link, acceptBacklog),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		memory:  memoryPool{limit: cfg.MaxMemory},
	}
	e.SetKeepAlive(0, 0)
	if a, ok := cfg.Conn.LocalAddr().(*net.UDPAddr); ok {
		a := a.AddrPort()
		e.local = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	if e.shaker, err = newHandshaker(e); err != nil {
		return nil, err
	}
	e.reading.Go(e.read)
	e.shaker.start()
	return e, nil
}

// ID returns who this node is.
func (e *Endpoint) ID() PeerID { return e.cfg.Identity.ID() }

// LocalAddr returns the address that the socket is bound to, which may be unspecified.
func (e *Endpoint) LocalAddr() netip.AddrPort { return e.local }

// WriteTo sends b as a datagram of its own from the endpoint's socket, for protocols that share it, such as STUN.
func (e *Endpoint) WriteTo(b []byte, addr netip.AddrPort) error {
	n, err := e.cfg.Conn.WriteBatch([][]byte{b}, []netip.AddrPort{addr})
	if err == nil && n == 0 {
		err = fmt.Errorf("the network refused the packet")
	}
	if err != nil {
		return fmt.Errorf("kcptransport: sending %d bytes to %s: %w", len(b), addr, err)
	}
	return nil
}

// WriteBatch sends datagrams from the endpoint's socket, each to its address, as [PacketConn] does.
func (e *Endpoint) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (n int, err error) {
	return e.cfg.Conn.WriteBatch(bufs, addrs)
}

// WriteTTL is WriteTo with a time to live of its own, in hops. It fails on sockets that know no such thing.
func (e *Endpoint) WriteTTL(b []byte, addr netip.AddrPort, ttl int) error {
	conn, ok := e.cfg.Conn.(ttlWriter)
	if !ok {
		return fmt.Errorf("kcptransport: sending to %s with %d hops: the socket cannot limit hops", addr, ttl)
	}
	if err := conn.WriteTTL(b, addr, ttl); err != nil {
		return fmt.Errorf("kcptransport: sending to %s with %d hops: %w", addr, ttl, err)
	}
	return nil
}

// Accept waits for a link that a peer opened. Links beyond 256 that nobody accepts are closed.
func (e *Endpoint) Accept(ctx context.Context) (*Link, error) {
	select { // first what is there
	case l := <-e.accepts:
		return l, nil
	default:
	}
	select {
	case l := <-e.accepts:
		return l, nil
	case <-e.closing:
		return nil, e.closedError("accepting a link")
	case <-ctx.Done():
		return nil, fmt.Errorf("kcptransport: accepting a link: %w", ctx.Err())
	}
}

// Link returns the link to a peer, nil when there is none.
func (e *Endpoint) Link(peer PeerID) *Link { return e.table.link(peer) }

// Links returns all links, ordered by peer.
func (e *Endpoint) Links() []*Link { return e.table.all() }

// NetworkChanged says that the network of this node has changed: it has other addresses, or has been asleep. Every link
// shows itself to its peer on all paths at once, instead of waiting for silence. Calls within half a second count as one
// more. It does not block.
func (e *Endpoint) NetworkChanged() {
	for _, l := range e.table.all() {
		l.inbox.put(networkMessage{})
	}
}

// Close ends all links at once as [Link.Close] does, but within a second, and closes the socket. No goroutine of the
// endpoint is left when it returns.
func (e *Endpoint) Close() error {
	e.once.Do(func() {
		close(e.closing)
		e.table.close()
		for _, l := range e.table.all() {
			l.inbox.put(endpointClose)
		}
		e.shaker.stop()
		e.table.loops.Wait()
		_ = e.cfg.Conn.Close() // nothing of it is left to save
		e.reading.Wait()
		e.callbacks.Wait()
		close(e.closed)
	})
	<-e.closed
	return nil
}

// closedError is why calls fail after Close, or after the socket broke.
func (e *Endpoint) closedError(what string) error {
	if err := e.failure.Load(); err != nil {
		return fmt.Errorf("kcptransport: %s: %w", what, *err)
	}
	return fmt.Errorf("kcptransport: %s: %w", what, ErrClosed)
}
