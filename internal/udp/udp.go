// Package udp is the real UDP socket below an endpoint: batches of datagrams, one dual-stack socket, addresses as
// [netip.AddrPort].
//
// On Linux a batch is one recvmmsg or sendmmsg. Runs of packets of one size to one destination leave as a single
// segmented packet (UDP_SEGMENT), and packets that the kernel coalesced (UDP_GRO) are split again before anybody sees
// them. What the kernel or a network device refuses is switched off at run time. Nothing is allocated per packet. On
// other systems each call moves one packet.
//
// Datagrams are lost silently, and so is one whose destination is unreachable: such an error concerns a single
// destination, and the socket serves many. [Conn.Stats] counts them.
package udp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/2xppg/xppg/internal/views"
)

// bufferSize is asked of the kernel for each direction, in bytes: 340 ms of 100 Mbit/s.
const bufferSize = 4 << 20

// errNoTTL is the answer of sockets that can't set the TTL of one packet.
var errNoTTL = fmt.Errorf("the socket can't set the TTL of a packet: %w", errors.ErrUnsupported)

// engine moves datagrams in one of the ways that this system has.
type engine interface {
	readBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error)
	views() views.Reader // nil when what is read lies nowhere but in the caller's buffers
	writeBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error)
	writeTTL(b []byte, addr netip.AddrPort, ttl int) error
	offload() (send, receive bool)
}

// Conn is a UDP socket. All methods may be called from several goroutines at once; reads are served one after
// another, and so are writes.
type Conn struct {
	pc      net.PacketConn
	local   net.Addr
	engine  engine
	refused *atomic.Uint64
	once    sync.Once
	views   views.Reader // of ReadViews, made with the first call
}

// What ReadViews has memory for, where the engine has none.
const (
	viewBatch = 64
	viewSize  = 9 << 10 // bytes of a datagram: more than any link carries in one piece
)

// Stats is what a socket did.
type Stats struct {
	Refused    uint64 // datagrams that the kernel didn't take: unreachable, forbidden or too large
	Segmenting bool   // runs of datagrams leave as one (UDP_SEGMENT), if they are small enough for the path
	Coalescing bool   // the kernel may hand over runs of datagrams as one (UDP_GRO)
}

// Listen opens a socket on addr, "host:port". Port 0 takes any free port. Without a host, or with "::", the socket
// serves IPv6 and IPv4, or IPv4 alone on a machine without IPv6; "0.0.0.0" means IPv4 only. Socket buffers are raised
// as far as the system allows.
func Listen(addr string) (*Conn, error) {
	pc, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("udp: listen on %q: %w (%s)", addr, err, advice(err))
	}
	tune(pc)
	return newConn(pc), nil
}

// Errors of Winsock, which package syscall does not take for those that other systems have; no other system has such numbers.
const (
	wsaAccess       = syscall.Errno(10013) // WSAEACCES
	wsaAddrNotAvail = syscall.Errno(10049) // WSAEADDRNOTAVAIL
)

// advice is what to do about an address at which nobody can listen.
func advice(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "an address of this machine is wanted; :port listens at all of them"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, wsaAddrNotAvail):
		return "it is no address of this machine; :port listens at all of them"
	case errors.Is(err, wsaAccess): // low ports are like others there
		return "another program has the port for itself, or Windows reserves it; port 0 takes a free one"
	case errors.Is(err, fs.ErrPermission):
		return "low ports are for privileged users; take one from 1024 on"
	}
	return "is the port taken? port 0 takes a free one"
}

func listen(addr string) (*net.UDPConn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	try := func(network, host string) (*net.UDPConn, error) {
		pc, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort(host, port))
		if err != nil {
			return nil, err
		}
		return pc.(*net.UDPConn), nil
	}
	switch host {
	case "0.0.0.0":
		return try("udp4", host)
	case "", "::":
		pc, err := try("udp", "")
		if err == nil {
			return pc, nil
		}
		if pc, err4 := try("udp4", ""); err4 == nil {
			return pc, nil
		}
		return nil, err
	}
	return try("udp", host)
}

// Wrap makes a Conn of any packet connection. A *net.UDPConn gets all that Listen gives except for larger socket
// buffers; with others each call moves one packet and WriteTTL fails. The Conn owns pc afterwards.
func Wrap(pc net.PacketConn) *Conn {
	if u, ok := pc.(*net.UDPConn); ok {
		return newConn(u)
	}
	c := &Conn{pc: pc, local: pc.LocalAddr(), refused: new(atomic.Uint64)}
	c.engine = newGeneric(pc, c.refused)
	return c
}

func newConn(pc *net.UDPConn) *Conn {
	c := &Conn{pc: pc, local: pc.LocalAddr(), refused: new(atomic.Uint64)}
	if c.engine = newBatcher(pc, c.refused); c.engine == nil {
		c.engine = newSingle(pc, c.refused)
	}
	return c
}

// ReadBatch blocks until at least one datagram is there and returns how many it filled in: datagram i is
// bufs[i][:sizes[i]] and came from addrs[i], which is never an IPv4 address in IPv6 form. A datagram longer than its
// buffer is cut. sizes and addrs must be as long as bufs. Errors are [net.ErrClosed], [os.ErrDeadlineExceeded] or
// the system's own; what ICMP reports about a destination is none.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	return c.engine.readBatch(bufs, sizes[:len(bufs)], addrs[:len(bufs)])
}

// ReadViews is ReadBatch without a copy: shown[i] becomes datagram i where it lies in the Conn's own memory. The caller
// may change it there, until anybody reads again; one goroutine at a time calls it. What is longer than 9 KiB may be
// cut. Datagrams that follow each other may lie side by side; WriteBatch sends such ones with less work.
func (c *Conn) ReadViews(shown [][]byte, addrs []netip.AddrPort) (int, error) {
	if len(shown) == 0 {
		return 0, nil
	}
	c.once.Do(func() {
		if c.views = c.engine.views(); c.views == nil {
			c.views = views.Of(copied{c}, viewBatch, viewSize)
		}
	})
	return c.views(shown, addrs[:len(shown)])
}

// copied has the datagrams of a Conn to read, and no views of its own.
type copied struct{ c *Conn }

func (c copied) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	return c.c.ReadBatch(bufs, sizes, addrs)
}

// WriteBatch sends bufs[i] to addrs[i] and returns how many the kernel took. It waits when the socket's buffer is
// full. A datagram that the kernel refuses because of its destination or size is skipped and counted, the others are
// sent; the error tells of a socket that is of no more use, as [net.ErrClosed]. bufs are not kept.
func (c *Conn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	return c.engine.writeBatch(bufs, addrs[:len(bufs)])
}

// WriteTTL sends one datagram that dies after ttl hops (1 to 255; 0 is the system's default). Unlike WriteBatch, it
// returns the error of an unreachable destination.
func (c *Conn) WriteTTL(b []byte, addr netip.AddrPort, ttl int) error {
	if ttl < 0 || ttl > 255 {
		return fmt.Errorf("udp: send to %v: TTL %d is not in 0 to 255", addr, ttl)
	}
	if !sendable(addr) {
		return fmt.Errorf("udp: send to %v: not an address with a port", addr)
	}
	if err := c.engine.writeTTL(b, addr, ttl); err != nil {
		return fmt.Errorf("udp: send to %v with TTL %d: %w", addr, ttl, err)
	}
	return nil
}

// LocalAddr is where the socket is bound.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// SetReadDeadline makes ReadBatch fail with [os.ErrDeadlineExceeded] from t on, also one that is waiting. The zero
// time takes the deadline away.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.pc.SetReadDeadline(t) }

// Close closes the socket. Calls that wait return [net.ErrClosed].
func (c *Conn) Close() error { return c.pc.Close() }

// Stats returns what the socket did so far.
func (c *Conn) Stats() Stats {
	s := Stats{Refused: c.refused.Load()}
	s.Segmenting, s.Coalescing = c.engine.offload()
	return s
}

// sendable tells whether a packet can be addressed to a at all. The kernel answers a port of 0 with EINVAL, the same
// error with which it refuses to segment.
func sendable(a netip.AddrPort) bool { return a.Addr().IsValid() && a.Port() != 0 }

// unmap gives IPv4 addresses their one spelling.
func unmap(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().Is4In6() {
		return a
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
