package stunclient

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Socket is a spare UDP socket. [*net.UDPConn] is one.
type Socket interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// spare is a client on a socket of its own, which it reads.
type spare struct {
	*Client
	socket Socket
	port   uint16         // where the socket is bound
	reader sync.WaitGroup // waited for by close

	mu    sync.Mutex
	other func(b []byte, from netip.AddrPort) // takes what is no answer to this client; may be nil
}

// open makes a spare socket with a client. The caller closes it.
func (p *Prober) open() (*spare, error) {
	socket, err := p.Open()
	if err != nil {
		return nil, fmt.Errorf("stunclient: open a spare socket: %w", err)
	}
	local, ok := socket.LocalAddr().(*net.UDPAddr)
	if !ok {
		_ = socket.Close()
		return nil, fmt.Errorf("stunclient: the spare socket's address is a %T, not a *net.UDPAddr", socket.LocalAddr())
	}
	s := &spare{socket: socket, port: local.AddrPort().Port()}
	s.Client = &Client{
		Local: local.AddrPort(), Rand: p.Rand, RTO: p.RTO, Requests: probeRequests, LastWait: probeLastWait,
		Send: func(b []byte, to netip.AddrPort) error {
			_, err := socket.WriteToUDPAddrPort(b, to)
			return err
		},
	}
	s.reader.Go(s.read)
	return s, nil
}

// read hands out what arrives until the socket is closed.
func (s *spare) read() {
	b := make([]byte, maxMessage+1)
	for failed := 0; failed < maxReadErrors; {
		n, from, err := s.socket.ReadFromUDPAddrPort(b)
		if err != nil { // closed, or the ICMP message that somebody did not want our packet
			failed++
			continue
		}
		failed = 0
		if s.Handle(b[:n], from) {
			continue
		}
		s.mu.Lock()
		other := s.other
		s.mu.Unlock()
		if other != nil {
			other(b[:n], unmap(from))
		}
	}
}

// overhear sets who takes the packets that are no answers to this client's requests.
func (s *spare) overhear(f func(b []byte, from netip.AddrPort)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = f
}

func (s *spare) close() {
	_ = s.socket.Close()
	s.reader.Wait()
}
