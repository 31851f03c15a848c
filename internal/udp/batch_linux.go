package udp

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/2xppg/xppg/internal/views"
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batcher is the engine of Linux: recvmmsg and sendmmsg on the descriptor of a *net.UDPConn, whose poller does the
// waiting. The headers that the kernel reads and fills belong to the batcher and are used again.
type batcher struct {
	reader reader
	writer writer
}

// newBatcher returns nil when the kernel, or a sandbox that stands in for one, lacks the system calls.
func newBatcher(pc *net.UDPConn, refused *atomic.Uint64) engine {
	rc, err := pc.SyscallConn()
	if err != nil {
		return nil
	}
	var usable, is4, segment, coalesce bool
	err = rc.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		usable = err == nil && hasBatchCalls(fd)
		is4 = domain == unix.AF_INET
		_, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		segment = err == nil
		coalesce = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	})
	if err != nil || !usable {
		return nil
	}
	b := new(batcher)
	b.reader.init(rc, coalesce)
	b.writer.init(rc, is4, segment, refused)
	return b
}

// hasBatchCalls asks for batches of nothing.
func hasBatchCalls(fd uintptr) bool {
	_, _, recv := unix.Syscall6(unix.SYS_RECVMMSG, fd, 0, 0, 0, 0, 0)
	_, _, send := unix.Syscall6(unix.SYS_SENDMMSG, fd, 0, 0, 0, 0, 0)
	return recv == 0 && send == 0
}

func (b *batcher) readBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	return b.reader.read(bufs, sizes, addrs)
}

func (b *batcher) views() views.Reader {
	if !b.reader.coalesce {
		return nil
	}
	return b.reader.readViews
}

func (b *batcher) writeBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	return b.writer.write(bufs, addrs)
}

func (b *batcher) writeTTL(p []byte, addr netip.AddrPort, ttl int) error {
	return b.writer.writeTTL(p, addr, ttl)
}

func (b *batcher) offload() (send, receive bool) {
	return b.writer.segmenting.Load(), b.reader.coalesce
}

// recvmmsg fills hs with what has arrived. It doesn't wait: the descriptor is non-blocking.
func recvmmsg(fd uintptr, hs []mmsghdr) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hs[0])), uintptr(len(hs)), 0, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// sendmmsg sends messages in order up to the first that the kernel refuses; an error concerns hs[0].
func sendmmsg(fd uintptr, hs []mmsghdr) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&hs[0])), uintptr(len(hs)), 0, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
