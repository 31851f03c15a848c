package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/2xppg/xppg/internal/views"
)

// addrPortConn is what *net.UDPConn and alike offer without an allocation per packet.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// single moves one packet a call.
type single struct {
	conn    addrPortConn
	ttl     *ttlSetter // nil where there is none
	refused *atomic.Uint64
	mu      sync.Mutex // held while sending, so that a packet's TTL applies to that packet only
}

func newSingle(pc *net.UDPConn, refused *atomic.Uint64) *single {
	return &single{conn: pc, ttl: newTTLSetter(pc), refused: refused}
}

func (s *single) offload() (send, receive bool) { return false, false }

func (s *single) views() views.Reader { return nil }

func (s *single) readBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(bufs[0])
		if err == nil {
			sizes[0], addrs[0] = n, unmap(from)
			return 1, nil
		}
		if !isTransient(err) {
			return 0, err
		}
	}
}

func (s *single) writeBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := 0
	for i, b := range bufs {
		if !sendable(addrs[i]) {
			s.refused.Add(1)
			continue
		}
		switch _, err := s.conn.WriteToUDPAddrPort(b, addrs[i]); {
		case err == nil:
			sent++
		case isFatal(err):
			return sent, err
		default:
			s.refused.Add(1)
		}
	}
	return sent, nil
}

func (s *single) writeTTL(b []byte, addr netip.AddrPort, ttl int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ttl != 0 {
		if s.ttl == nil {
			return errNoTTL
		}
		restore, err := s.ttl.set(addr.Addr().Unmap().Is4(), ttl)
		if err != nil {
			return err
		}
		defer restore()
	}
	_, err := s.conn.WriteToUDPAddrPort(b, addr)
	return err
}

// isFatal tells errors after which no packet will be sent any more.
func isFatal(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// ttlSetter changes the TTL of a whole socket for the time of one packet.
type ttlSetter struct {
	v4 *ipv4.PacketConn
	v6 *ipv6.PacketConn
}

func newTTLSetter(pc *net.UDPConn) *ttlSetter {
	return &ttlSetter{v4: ipv4.NewPacketConn(pc), v6: ipv6.NewPacketConn(pc)}
}

func (t *ttlSetter) set(is4 bool, ttl int) (restore func(), err error) {
	if is4 {
		old, err := t.v4.TTL()
		if err != nil {
			return nil, err
		}
		return func() { _ = t.v4.SetTTL(old) }, t.v4.SetTTL(ttl)
	}
	old, err := t.v6.HopLimit()
	if err != nil {
		return nil, err
	}
	return func() { _ = t.v6.SetHopLimit(old) }, t.v6.SetHopLimit(ttl)
}
