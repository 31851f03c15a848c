package stuntest

import (
	"net/netip"
	"sync"
)

// Socket is one of the server's. Those of netsim and of package net are such.
type Socket interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// Serve opens the four sockets and answers on them until they are closed, which wait waits for.
func Serve[S Socket](s *Server, open func(at netip.AddrPort) (S, error)) (wait func(), err error) {
	sockets := map[netip.AddrPort]S{}
	for _, at := range s.Sockets() {
		if sockets[at], err = open(at); err != nil {
			return nil, err
		}
	}
	var readers sync.WaitGroup
	for at, socket := range sockets {
		readers.Go(func() {
			b := make([]byte, 1500)
			for {
				n, from, err := socket.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				if a, ok := s.Respond(b[:n], from, at); ok {
					_, _ = sockets[a.From].WriteToUDPAddrPort(a.Bytes, a.To) // who asks asks again
				}
			}
		})
	}
	return readers.Wait, nil
}
