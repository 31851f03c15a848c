package udp

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxWriteBatch = 256     // packets a call
	retryRuns     = 100_000 // messages after a refused run until the next is tried
)

// writer sends batches.
type writer struct {
	rc         syscall.RawConn
	is4        bool
	refused    *atomic.Uint64
	segmenting atomic.Bool
	call       func(fd uintptr) bool // send, made once

	mu         sync.Mutex
	maxSegment int // packets of this size and below leave in runs
	retry      int // messages until maxSegment is forgotten, when it was lowered
	hs         []mmsghdr
	iovs       []unix.Iovec
	names      []sockaddr
	ctls       []control
	counts     []int // packets in each message

	pending []mmsghdr
	sent    int
	errno   syscall.Errno
}

func (w *writer) init(rc syscall.RawConn, is4, segment bool, refused *atomic.Uint64) {
	w.rc, w.is4, w.refused, w.call = rc, is4, refused, w.send
	w.segmenting.Store(segment)
	if segment {
		w.maxSegment = maxRunSize
	}
}

func (w *writer) grow(n int) {
	w.hs, w.iovs = make([]mmsghdr, n), make([]unix.Iovec, n)
	w.names, w.ctls = make([]sockaddr, n), make([]control, n)
	w.counts = make([]int, n)
	for i := range w.hs {
		w.hs[i].hdr.Name = bytePtr(&w.names[i])
	}
}

func (w *writer) write(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := 0
	for i := 0; i < len(bufs); i += maxWriteBatch {
		end := min(i+maxWriteBatch, len(bufs))
		n, err := w.writeSome(bufs[i:end], addrs[i:end])
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// writeSome sends up to maxWriteBatch packets.
func (w *writer) writeSome(bufs [][]byte, addrs []netip.AddrPort) (sent int, err error) {
	if len(w.hs) < len(bufs) {
		w.grow(min(max(len(bufs), 2*len(w.hs)), maxWriteBatch))
	}
	defer clear(w.iovs[:len(bufs)]) // the buffers are the caller's
	single := 0                     // packets before it go one by one: the run they were was refused
	limit := -1                     // of runs, should the first packet of a refused run pass alone
	for i := 0; i < len(bufs); {
		if !canSend(addrs[i], w.is4) {
			w.refused.Add(1)
			i++
			continue
		}
		n, errno, err := w.sendMessages(w.pack(bufs[i:], addrs[i:], single-i))
		if err != nil {
			return sent, err
		}
		if n > 0 && limit >= 0 {
			w.limitRuns(limit)
			limit = -1
		}
		for _, count := range w.counts[:n] {
			sent += count
			i += count
		}
		if errno == 0 {
			continue
		}
		switch count := w.counts[n]; {
		case count > 1 && refusesRuns(errno):
			single, limit = i+count, len(bufs[i])-1
			if errno == unix.EIO {
				limit = 0
			}
		default:
			w.refused.Add(uint64(count))
			i += count
			limit = -1
		}
	}
	return sent, nil
}

// limitRuns lets only packets up to size leave in runs, for a while: the device or the path may change.
func (w *writer) limitRuns(size int) {
	w.maxSegment, w.retry = min(size, w.maxSegment), retryRuns
	w.segmenting.Store(w.maxSegment > 0)
}

// countMessages brings runs back when it is time to try again.
func (w *writer) countMessages(n int) {
	if w.retry == 0 {
		return
	}
	if w.retry -= n; w.retry <= 0 {
		w.maxSegment, w.retry = maxRunSize, 0
		w.segmenting.Store(true)
	}
}

// refusesRuns tells the errors by which a kernel or a device may say that it can't segment: EIO when the device can't
// compute checksums, EINVAL and EMSGSIZE when a segment doesn't fit the path. The first packet of the run, sent alone,
// shows whether it was this.
func refusesRuns(errno syscall.Errno) bool {
	return errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE || errno == unix.EOPNOTSUPP
}

// pack makes messages of the packets up to one that can't be sent, the first single of them one by one, and returns
// their number.
func (w *writer) pack(bufs [][]byte, addrs []netip.AddrPort, single int) int {
	n := 0
	for i := 0; i < len(bufs) && canSend(addrs[i], w.is4); n++ {
		count := 1
		if i >= single {
			count = runLength(bufs[i:], addrs[i:], w.maxSegment)
		}
		h := &w.hs[n].hdr
		h.Namelen = putSockaddr(&w.names[n], addrs[i], w.is4)
		h.Iov = &w.iovs[i]
		h.SetIovlen(gather(w.iovs[i:], bufs[i:i+count]))
		h.Control = nil
		h.SetControllen(0)
		if count > 1 {
			w.ctls[n].setUint16(h, unix.IPPROTO_UDP, unix.UDP_SEGMENT, uint16(len(bufs[i])))
		}
		w.counts[n] = count
		i += count
	}
	return n
}

// sendMessages sends the first n packed messages. An errno concerns message number sent; err means that the socket
// sends no more.
func (w *writer) sendMessages(n int) (sent int, errno syscall.Errno, err error) {
	w.countMessages(n)
	w.pending, w.sent, w.errno = w.hs[:n], 0, 0
	if err := w.rc.Write(w.call); err != nil {
		return w.sent, 0, err
	}
	return w.sent, w.errno, nil
}

// send hands the pending messages to the kernel, until one is refused or the socket's buffer is full.
func (w *writer) send(fd uintptr) bool {
	for len(w.pending) > 0 {
		n, errno := sendmmsg(fd, w.pending)
		if errno == unix.EAGAIN {
			return false
		}
		if w.errno = errno; errno != 0 {
			return true
		}
		w.sent += n
		w.pending = w.pending[n:]
	}
	return true
}

// writeTTL sends one packet whose header carries its TTL, so that no other packet is concerned.
func (w *writer) writeTTL(b []byte, addr netip.AddrPort, ttl int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.hs) == 0 {
		w.grow(1)
	}
	if !canSend(addr, w.is4) {
		return os.NewSyscallError("sendmmsg", unix.EAFNOSUPPORT)
	}
	defer clear(w.iovs[:1])
	w.pack([][]byte{b}, []netip.AddrPort{addr}, 0)
	if ttl != 0 {
		level, typ := int32(unix.IPPROTO_IPV6), int32(unix.IPV6_HOPLIMIT)
		if addr.Addr().Unmap().Is4() {
			level, typ = unix.IPPROTO_IP, unix.IP_TTL
		}
		w.ctls[0].setInt32(&w.hs[0].hdr, level, typ, int32(ttl))
	}
	_, errno, err := w.sendMessages(1)
	if err == nil && errno != 0 {
		w.refused.Add(1)
		err = os.NewSyscallError("sendmmsg", errno)
	}
	return err
}

// canSend tells whether a socket of one family can address a packet to addr.
func canSend(addr netip.AddrPort, is4 bool) bool {
	return sendable(addr) && (!is4 || addr.Addr().Is4() || addr.Addr().Is4In6())
}

// gather has iovs describe bufs, and returns how many it takes: what lies side by side in memory is one.
func gather(iovs []unix.Iovec, bufs [][]byte) int {
	n := 0
	end := uintptr(0)
	for _, b := range bufs {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		if n > 0 && start == end {
			iovs[n-1].SetLen(int(iovs[n-1].Len) + len(b))
		} else {
			setIovec(&iovs[n], b)
			n++
		}
		end = start + uintptr(len(b))
	}
	return n
}

func setIovec(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

func bytePtr(sa *sockaddr) *byte { return (*byte)(unsafe.Pointer(sa)) }
