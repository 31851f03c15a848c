package carrier

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

var errFrame = errors.New("carrier: a packet that is empty or too large")

// tcpStream is a stream over TCP.
type tcpStream struct {
	conn net.Conn
	in   *bufio.Reader
}

func newTCP(c net.Conn) *tcpStream { return &tcpStream{c, bufio.NewReaderSize(c, 16<<10)} }

func (s *tcpStream) read(b []byte, within time.Duration) (int, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	return readFrame(s.in, b)
}

// readFrame reads a packet that follows its length.
func readFrame(r io.Reader, b []byte) (int, error) {
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || n > len(b) {
		return 0, errFrame
	}
	return io.ReadFull(r, b[:n])
}

func (s *tcpStream) write(frames []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(idleTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(frames)
	return err
}

func (s *tcpStream) close() { _ = s.conn.Close() }

// Serve accepts TCP connections until the listener is closed, and returns its error.
func (c *Conn) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		Tune(conn)
		if !c.accept(newTCP(conn), conn.RemoteAddr().String()) {
			_ = conn.Close()
		}
	}
}
