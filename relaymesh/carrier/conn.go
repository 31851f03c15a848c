package carrier

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/internal/views"
	"github.com/2xppg/xppg/kcptransport"
)

const (
	maxPacket    = 2048
	readBatch    = 64 // packets that are read at once where the socket has no memory of its own
	idleTimeout  = 2 * time.Minute
	firstTimeout = 10 * time.Second // for the first packet of who connects to us
	defaultQueue = 256 << 10
	defaultConns = 256
	defaultPerIP = 64
	maxWaiting   = 1024 // packets that came and were not read yet, of all connections
	fairTurn     = 100 * time.Microsecond
)

// prefix has the addresses that stand for connections.
var prefix = netip.MustParsePrefix("100::/64")

// Is reports whether an address stands for a connection.
func Is(a netip.AddrPort) bool { return prefix.Contains(a.Addr()) }

// Config configures a Conn. The zero value will do.
type Config struct {
	// Dial opens TCP connections. Default: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Queue int // bytes that wait to leave on one connection, or are being written; 0 means 256 KiB
	Conns int // connections that are accepted at a time; 0 means 256

	// ConnsPerIP is how many of them may come from one IPv4 address or IPv6 /64; 0 means
	// 64, negative no limit (behind a reverse proxy, where all come from one address).
	ConnsPerIP int

	// Proxy tells the HTTP proxy of a request, as in http.Transport. Default:
	// http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)

	// TLS is for wss and for proxies that speak TLS; nil means the default.
	TLS *tls.Config

	// OnClose is called when the connection of an address has ended, by a goroutine of
	// its own, which Close waits for.
	OnClose func(netip.AddrPort)
}

// A Conn is a kcptransport.PacketConn whose packets travel by UDP, or by connections. Its
// methods may be called from several goroutines, but only one reads.
type Conn struct {
	kcptransport.PacketConn
	cfg     Config
	readUDP views.Reader
	open    atomic.Int32 // connections
	lastUDP atomic.Int64 // when something came by UDP, in Unix nanoseconds; 0: never

	mu       sync.Mutex
	links    map[netip.AddrPort]*link
	last     uint64 // counts addresses
	accepted int
	perIP    map[netip.Prefix]int // those accepted
	waiting  []received
	udpsTurn bool
	deadline time.Time // of reads
	set      time.Time // the one that the socket has
	closed   bool
	done     sync.WaitGroup
}

type received struct {
	data []byte
	from netip.AddrPort
}

// New wraps a socket. Closing the Conn closes it, too.
func New(udp kcptransport.PacketConn, cfg Config) *Conn {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			Tune(conn)
		}
		return conn, err
	}
	if cfg.Queue == 0 {
		cfg.Queue = defaultQueue
	}
	if cfg.Conns == 0 {
		cfg.Conns = defaultConns
	}
	if cfg.ConnsPerIP == 0 {
		cfg.ConnsPerIP = defaultPerIP
	}
	if cfg.Proxy == nil {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	return &Conn{PacketConn: udp, cfg: cfg, readUDP: views.Of(udp, readBatch, maxPacket), links: map[netip.AddrPort]*link{}, perIP: map[netip.Prefix]int{}}
}

// ReadBatch implements kcptransport.PacketConn. UDP and connections take turns.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	shown := make([][]byte, len(bufs))
	n, err := c.ReadViews(shown, addrs)
	for i, v := range shown[:n] {
		sizes[i] = copy(bufs[i], v)
	}
	return n, err
}

// ReadViews is ReadBatch without a copy: views[i] becomes datagram i where it lies. The caller may change it there, until the
// next read.
func (c *Conn) ReadViews(views [][]byte, addrs []netip.AddrPort) (int, error) {
	for {
		if n, err := c.takeWaiting(views, addrs); n > 0 || err != nil {
			return n, err
		}
		n, err := c.readUDP(views, addrs)
		if n > 0 {
			c.lastUDP.Store(time.Now().UnixNano())
		}
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.mu.Lock()
		over := !c.deadline.IsZero() && !time.Now().Before(c.deadline)
		c.udpsTurn = false // it had it, and nothing came
		c.mu.Unlock()
		if over {
			return n, err
		}
	}
}

// takeWaiting takes what came by connections, every other time. When it takes nothing it
// sets how long UDP is to be waited for: until something comes by a connection.
func (c *Conn) takeWaiting(views [][]byte, addrs []netip.AddrPort) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return 0, c.waitUntil(c.deadline)
	}
	if c.udpsTurn {
		c.udpsTurn = false
		return 0, c.waitUntil(time.Now().Add(fairTurn))
	}
	for n < len(views) && n < len(c.waiting) {
		views[n], addrs[n] = c.waiting[n].data, c.waiting[n].from
		n++
	}
	rest := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	c.udpsTurn = true
	return n, nil
}

// arrived takes in a packet of a connection, and wakes who reads.
func (c *Conn) arrived(data []byte, from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= maxWaiting || c.closed {
		return
	}
	c.waiting = append(c.waiting, received{append([]byte(nil), data...), from})
	if len(c.waiting) == 1 {
		_ = c.waitUntil(time.Unix(1, 0))
	}
}

// SetReadDeadline implements kcptransport.PacketConn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if len(c.waiting) > 0 {
		return nil // the next read sets it
	}
	return c.waitUntil(t)
}

// waitUntil sets how long UDP is waited for, unless it is so already. c.mu is held.
func (c *Conn) waitUntil(t time.Time) error {
	if t.Equal(c.set) {
		return nil
	}
	c.set = t
	return c.PacketConn.SetReadDeadline(t)
}

// WriteBatch implements kcptransport.PacketConn. It never waits for a connection.
func (c *Conn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (n int, err error) {
	if c.open.Load() == 0 {
		return c.PacketConn.WriteBatch(bufs, addrs)
	}
	for i := 0; i < len(bufs); {
		if Is(addrs[i]) {
			if c.send(bufs[i], addrs[i]) {
				n++
			}
			i++
			continue
		}
		end := i + 1
		for end < len(bufs) && !Is(addrs[end]) {
			end++
		}
		sent, e := c.PacketConn.WriteBatch(bufs[i:end], addrs[i:end])
		n += sent
		if err == nil {
			err = e
		}
		i = end
	}
	return n, err
}

// send gives a packet to the connection of an address, if it has one with room.
func (c *Conn) send(b []byte, to netip.AddrPort) bool {
	c.mu.Lock()
	l := c.links[to]
	c.mu.Unlock()
	return l != nil && len(b) <= maxPacket && l.enqueue(b)
}

// Congested reports whether packets to an address wait for a connection, for over 20 ms or so many that there is little room, so that
// who sends them should slow down. It waits for nothing.
func (c *Conn) Congested(to netip.AddrPort) bool {
	if c.open.Load() == 0 || !Is(to) {
		return false
	}
	c.mu.Lock()
	l := c.links[to]
	c.mu.Unlock()
	return l != nil && l.congested(time.Now())
}

// WriteTTL passes on a packet with a time to live, which only UDP has.
func (c *Conn) WriteTTL(b []byte, to netip.AddrPort, ttl int) error {
	w, ok := c.PacketConn.(interface {
		WriteTTL(b []byte, addr netip.AddrPort, ttl int) error
	})
	if !ok || Is(to) {
		return errors.ErrUnsupported
	}
	return w.WriteTTL(b, to, ttl)
}

// Settler passes on that of a simulated socket.
func (c *Conn) Settler() func() {
	if s, ok := c.PacketConn.(interface{ Settler() func() }); ok {
		return s.Settler()
	}
	return func() {}
}

// LastUDP returns when something came by UDP last, whatever it was; the zero time when nothing ever did.
func (c *Conn) LastUDP() time.Time {
	if ns := c.lastUDP.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Hang closes the connection of an address, if it has one.
func (c *Conn) Hang(addr netip.AddrPort) {
	c.mu.Lock()
	l := c.links[addr]
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// Connections returns how many connections there are.
func (c *Conn) Connections() int { return int(c.open.Load()) }

// Connected reports whether an address stands for a connection that is there.
func (c *Conn) Connected(addr netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.links[addr] != nil
}

// Source returns from where the connection of an address was accepted: behind a reverse proxy, where that is. It is invalid for a
// connection that we made, which says nothing of where the peer is, and for one that has ended.
func (c *Conn) Source(addr netip.AddrPort) netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[addr]; l != nil {
		return l.source
	}
	return netip.Addr{}
}

// Close closes the socket and all connections, and waits for their goroutines.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, l := range c.links {
		l.close()
	}
	c.mu.Unlock()
	err := c.PacketConn.Close()
	c.done.Wait()
	return err
}

// address returns one that stands for nothing yet. c.mu is held.
func (c *Conn) address() netip.AddrPort {
	c.last++
	a := prefix.Addr().As16()
	binary.BigEndian.PutUint64(a[8:], c.last)
	return netip.AddrPortFrom(netip.AddrFrom16(a), 1)
}
