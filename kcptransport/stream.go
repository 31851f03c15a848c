package kcptransport

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	maxKind      = 64
	sendBuffer   = 2 << 20   // bytes accepted by Write and not yet given to KCP; 100 Mbit/s x 100 ms is 1.25 MB
	readBuffer   = 256 << 10 // bytes taken from KCP and not yet read; what is beyond closes KCP's window
	writePortion = 64 << 10  // copied at once, so that the link's loop is not kept waiting
)

// Stream is an ordered, reliable stream of bytes to a peer, and a net.Conn. Its two directions end independently.
// All methods may be called from any goroutine. Streams of one link do not wait for each other's lost packets.
type Stream struct {
	mux  *mux
	id   uint32
	kind string // of an accepted stream it is set before the stream is given out

	mu       sync.Mutex
	canRead  sync.Cond
	canWrite sync.Cond
	in, out  byteQueue
	readErr  error // returned once in is empty
	writeErr error
	readBy   deadline
	writeBy  deadline
	writing  bool // a Write is under way; others wait, so that writes do not mix
	stalled  bool // KCP holds data that does not fit into in
	wanted   streamWants
	held     int // bytes that the mux's memory account has for in and out
}

// streamWants is what the methods of a Stream want the link's loop to do.
type streamWants struct {
	queued    bool // already in the mux's list of streams to look at
	end       bool // end our direction after what is in out
	closed    bool // nobody reads or writes here any more
	reset     bool // drop everything
	resetCode uint32
	priority  Priority
}

var _ net.Conn = (*Stream)(nil)

func newStream(m *mux, id uint32, kind string) *Stream {
	s := &Stream{mux: m, id: id, kind: kind}
	s.canRead.L, s.canWrite.L = &s.mu, &s.mu
	s.readBy.cond, s.writeBy.cond = &s.canRead, &s.canWrite
	return s
}

// Kind returns what the opener of the stream said it is for, 1 to 64 bytes. On an accepted stream it comes from the
// peer.
func (s *Stream) Kind() string { return s.kind }

// ID returns the number of the stream, which is unique on its link.
func (s *Stream) ID() uint32 { return s.id }

// Peer returns who is at the other end.
func (s *Stream) Peer() PeerID { return s.mux.cfg.peer }

// LocalAddr returns the address of the link's own end.
func (s *Stream) LocalAddr() net.Addr { return s.mux.cfg.local }

// RemoteAddr returns the address of the link's other end. It is fixed when the link begins and does not follow the peer.
func (s *Stream) RemoteAddr() net.Addr { return s.mux.cfg.remote }

// Read waits for data and returns what there is. At the end of what the peer wrote before CloseWrite or Close it
// returns io.EOF, after a reset a *ResetError, after a deadline os.ErrDeadlineExceeded.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case s.in.len() > 0 || len(p) == 0:
			n := s.in.readInto(p)
			s.account()
			if s.stalled && s.in.len() <= readBuffer/2 {
				s.stalled = false
				s.notify()
			}
			return n, nil
		case s.readErr != nil:
			return 0, s.readErr
		}
		s.canRead.Wait()
	}
}

// Write queues p, waiting while the send buffer is full: 2 MiB, less when [Config.MaxMemory] is short. That it returns
// does not mean that the peer has the data. It does not keep p.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		if err := s.writeFails(); err != nil {
			return 0, err
		}
		s.canWrite.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.canWrite.Broadcast()
	}()
	for {
		if err := s.writeFails(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		free := min(s.sendBuffer()-s.out.len(), writePortion, len(p)-n)
		if free <= 0 {
			s.canWrite.Wait()
			continue
		}
		s.out.write(p[n : n+free])
		s.account()
		n += free
		s.notify()
		if n < len(p) { // let the loop in
			s.mu.Unlock()
			s.mu.Lock()
		} else {
			return n, nil
		}
	}
}

func (s *Stream) writeFails() error {
	if s.writeErr != nil {
		return s.writeErr
	}
	if s.writeBy.passed {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// CloseWrite ends our direction: the peer reads io.EOF after what was written. Reading goes on.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.end {
		return nil
	}
	if s.writeErr != nil {
		return s.writeErr
	}
	s.wanted.end = true
	s.writeErr = fmt.Errorf("kcptransport: writing to a stream after CloseWrite: %w", net.ErrClosed)
	s.canWrite.Broadcast()
	s.notify()
	return nil
}

// Close ends both directions and returns at once. What was written before is still delivered in the background, for
// as long as the link lives and the peer takes it; what the peer sends from now on is dropped, and its Write fails.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.closed || s.wanted.reset {
		return nil
	}
	s.wanted.end, s.wanted.closed = true, true
	s.readErr = fmt.Errorf("kcptransport: reading from a stream after Close: %w", ErrClosed)
	if s.writeErr == nil {
		s.writeErr = fmt.Errorf("kcptransport: writing to a stream after Close: %w", ErrClosed)
	}
	s.in.reset()
	s.account()
	s.shut()
	s.notify()
	return nil
}

// Reset drops both directions: what was written and has not arrived is lost, and calls here and at the other side
// return a *ResetError with code, which the application chooses below [ResetReserved].
func (s *Stream) Reset(code uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.reset {
		return
	}
	s.wanted.reset, s.wanted.resetCode = true, code
	s.drop(&ResetError{Code: code})
	s.notify()
}

// SetPriority says how urgent is what this side sends on the stream, from now on: streams of a higher priority go before
// those of a lower one, which keep a sixteenth of the rate, and those of the same share it evenly. The peer is not told;
// it says for itself how urgent its answers are.
func (s *Stream) SetPriority(p Priority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.priority != p {
		s.wanted.priority = p
		s.notify()
	}
}

// SetDeadline sets the times after which Read and Write give up. The zero time means never.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline sets the time after which Read, also one under way, fails with os.ErrDeadlineExceeded.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.readBy, t) }

// SetWriteDeadline sets the time after which Write, also one under way, fails with os.ErrDeadlineExceeded. Part of what
// was to be written may have been.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.writeBy, t) }

func (s *Stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.closed {
		return fmt.Errorf("kcptransport: setting the deadline of a stream: %w", ErrClosed)
	}
	d.set(t)
	return nil
}

// notify has the link's loop look at the stream. The caller holds s.mu.
func (s *Stream) notify() {
	if !s.wanted.queued {
		s.wanted.queued = true
		s.mux.notice(s)
	}
}

// shut wakes everybody and stops the timers. The caller holds s.mu.
func (s *Stream) shut() {
	s.readBy.stop()
	s.writeBy.stop()
	s.canRead.Broadcast()
	s.canWrite.Broadcast()
}

// drop ends both directions with err and forgets all data. The caller holds s.mu.
func (s *Stream) drop(err error) {
	if !s.wanted.closed {
		s.readErr, s.writeErr = err, err
	}
	s.in.reset()
	s.out.reset()
	s.account()
	s.shut()
}

// sendBuffer returns how many bytes out may hold. The caller holds s.mu.
func (s *Stream) sendBuffer() int {
	if s.out.len() >= scarceBuffer && !s.mux.memory.fits(writePortion) {
		return scarceBuffer
	}
	return sendBuffer
}

// account brings the books up to date on what in and out hold. The caller holds s.mu.
func (s *Stream) account() {
	held := s.in.memory() + s.out.memory()
	s.mux.memory.add(held - s.held)
	s.held = held
}

// passed reports whether a level fell from above the mark to it or below.
func passed(before, now, mark int) bool { return before > mark && now <= mark }

// unread returns how many bytes wait for Read.
func (s *Stream) unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.len()
}

// The rest is called by the link's loop.

// take returns what the methods wanted since the last call.
func (s *Stream) take() streamWants {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted.queued = false
	return s.wanted
}

// pull moves up to len(p) bytes to be sent into p. end says that the direction ends after them.
func (s *Stream) pull(p []byte) (n int, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.out.len()
	n = s.out.readInto(p)
	s.account()
	if left := s.out.len(); left == 0 || passed(before, left, sendBuffer*3/4) || passed(before, left, scarceBuffer*3/4) {
		s.canWrite.Broadcast()
	}
	return n, s.wanted.end && s.out.len() == 0
}

// queuedOut returns how many bytes wait to be given to KCP, and whether the end follows them.
func (s *Stream) queuedOut() (n int, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.len(), s.wanted.end
}

// room reports whether more may be delivered; if not, the loop is notified when there is.
func (s *Stream) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = s.in.len() >= readBuffer
	return !s.stalled
}

// keepsUp reports whether the reader takes what comes.
func (s *Stream) keepsUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.len() < readBuffer/2
}

// deliver appends data for Read.
func (s *Stream) deliver(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr != nil {
		return
	}
	s.in.write(data)
	s.account()
	s.canRead.Broadcast()
}

// endRead makes Read return err after what was delivered.
func (s *Stream) endRead(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil {
		s.readErr = err
	}
	s.canRead.Broadcast()
}

// endWrite makes Write return err and forgets what was not sent.
func (s *Stream) endWrite(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr == nil {
		s.writeErr = err
	}
	s.out.reset()
	s.account()
	s.canWrite.Broadcast()
}

// fail ends both directions with err; what was delivered can still be read.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil {
		s.readErr = err
	}
	if s.writeErr == nil {
		s.writeErr = err
	}
	s.out.reset()
	s.account()
	s.shut()
}

// wasReset ends both directions because the peer, or the mux, reset the stream.
func (s *Stream) wasReset(err *ResetError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(err)
}

var _ io.ReadWriteCloser = (*Stream)(nil)
