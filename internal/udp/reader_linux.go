package udp

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxReadDirect = 128     // messages a call, straight into the caller's buffers
	minReadSlots  = 2       // messages a call with coalescing, at the beginning
	maxReadSlots  = 16      // and when they were all filled
	slotSize      = 1 << 16 // the largest message that coalescing makes
)

// reader receives batches. Without coalescing the kernel writes to the caller's buffers. With it a message may be
// many packets, whose size is known only afterwards: they land in slots, and are shown there or copied out, which costs
// a hundredth of the system calls saved.
type reader struct {
	rc       syscall.RawConn
	coalesce bool
	call     func(fd uintptr) bool // recv, made once

	mu    sync.Mutex
	hs    []mmsghdr
	iovs  []unix.Iovec
	names []sockaddr
	ctls  []control
	slots [][]byte
	views [][]byte // of read, in slots

	// What the last call got and is not yet handed out.
	n, next int            // messages, and the one whose turn it is
	off     int            // what of it is handed out
	segment int            // the size of its packets
	from    netip.AddrPort // its source

	want  int
	errno syscall.Errno
}

func (r *reader) init(rc syscall.RawConn, coalesce bool) {
	r.rc, r.coalesce, r.call = rc, coalesce, r.recv
	if coalesce {
		r.grow(minReadSlots)
	}
}

// grow makes room for n messages a call.
func (r *reader) grow(n int) {
	r.hs, r.iovs = make([]mmsghdr, n), make([]unix.Iovec, n)
	r.names, r.ctls = make([]sockaddr, n), make([]control, n)
	for i := range r.hs {
		r.hs[i].hdr.Name = bytePtr(&r.names[i])
		r.hs[i].hdr.Iov = &r.iovs[i]
		r.hs[i].hdr.SetIovlen(1)
	}
	for r.coalesce && len(r.slots) < n {
		r.slots = append(r.slots, make([]byte, slotSize))
	}
}

func (r *reader) read(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.coalesce {
		return r.readDirect(bufs, sizes, addrs)
	}
	if len(r.views) < len(bufs) {
		r.views = make([][]byte, len(bufs))
	}
	n, err := r.readSlots(r.views[:len(bufs)], addrs)
	for i, v := range r.views[:n] {
		sizes[i] = copy(bufs[i], v)
	}
	return n, err
}

// readViews shows packets where they landed: in slots, so there has to be coalescing.
func (r *reader) readViews(views [][]byte, addrs []netip.AddrPort) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readSlots(views, addrs)
}

// readSlots shows packets in slots, until the next call.
func (r *reader) readSlots(views [][]byte, addrs []netip.AddrPort) (int, error) {
	for {
		if n := r.handOut(views, addrs); n > 0 {
			return n, nil
		}
		if r.n == len(r.hs) && r.n < maxReadSlots {
			r.grow(2 * r.n)
		}
		for i := range r.slots {
			r.prepare(i, r.slots[i])
		}
		if err := r.receive(len(r.slots)); err != nil {
			return 0, err
		}
	}
}

// handOut shows packets of the messages that are left.
func (r *reader) handOut(views [][]byte, addrs []netip.AddrPort) int {
	done := 0
	for done < len(views) && r.next < r.n {
		h := &r.hs[r.next]
		message := r.slots[r.next][:h.len]
		if r.off == 0 {
			r.from = addrPort(&r.names[r.next])
			r.segment = r.ctls[r.next].segmentSize(int(h.hdr.Controllen))
			if r.segment <= 0 {
				r.segment = len(message)
			}
		}
		end := min(r.off+r.segment, len(message))
		views[done], addrs[done] = message[r.off:end:end], r.from
		done++
		if r.off = end; end == len(message) {
			r.next, r.off = r.next+1, 0
		}
	}
	return done
}

func (r *reader) readDirect(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	want := min(len(bufs), maxReadDirect)
	if len(r.hs) < want {
		r.grow(want)
	}
	for i, b := range bufs[:want] {
		r.prepare(i, b)
	}
	err := r.receive(want)
	clear(r.iovs[:want]) // the buffers are the caller's
	if err != nil {
		return 0, err
	}
	for i := range r.n {
		sizes[i], addrs[i] = int(r.hs[i].len), addrPort(&r.names[i])
	}
	return r.n, nil
}

// prepare has message i received into b.
func (r *reader) prepare(i int, b []byte) {
	setIovec(&r.iovs[i], b)
	h := &r.hs[i].hdr
	h.Namelen = sockaddrSize
	if r.coalesce {
		h.Control = &r.ctls[i].b[0]
		h.SetControllen(controlSize)
	}
}

// receive waits for at least one message and takes up to want.
func (r *reader) receive(want int) error {
	r.n, r.next, r.off = 0, 0, 0
	for {
		r.want = want
		if err := r.rc.Read(r.call); err != nil {
			return err
		}
		if r.errno == 0 {
			return nil
		}
		if !isTransient(r.errno) {
			return fmt.Errorf("udp: read: %w", os.NewSyscallError("recvmmsg", r.errno))
		}
	}
}

func (r *reader) recv(fd uintptr) bool {
	r.n, r.errno = recvmmsg(fd, r.hs[:r.want])
	if r.errno != 0 {
		r.n = 0
	}
	return r.errno != unix.EAGAIN
}
