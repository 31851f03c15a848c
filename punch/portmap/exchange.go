package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	pmpPort = 5351 // of gateways, for NAT-PMP and PCP (RFC 6886 section 3.1, RFC 6887 section 19.2)

	firstWait   = 250 * time.Millisecond // RFC 6886 section 3.1: for an answer; doubled each time
	maxStray    = 256                    // packets of one exchange that are no answer
	maxDatagram = 2048
)

var errSilent = errors.New("no answer")

// link sends datagrams to one gateway.
type link struct {
	net Network
	gw  Gateway
}

// ask sends a request to port 5351 of the gateway, again and again until answered takes an answer or ctx ends. answered
// gets only what the gateway itself sent; it says done, with an error if the answer is a refusal, or not done, and the
// answer is ignored.
func (l link) ask(ctx context.Context, request []byte, answered func([]byte) (done bool, err error)) error {
	server := netip.AddrPortFrom(l.gw.Addr, pmpPort)
	return l.talk(ctx, func(c net.PacketConn) error {
		_, err := c.WriteTo(request, net.UDPAddrFromAddrPort(server))
		return err
	}, func(b []byte, from netip.AddrPort) (bool, error) {
		if from != server {
			return false, nil
		}
		return answered(b)
	})
}

// talk calls send, again after 250, 500, 1000 ms and so on, and heard for what comes back, until heard says done.
func (l link) talk(ctx context.Context, send func(net.PacketConn) error, heard func([]byte, netip.AddrPort) (bool, error)) error {
	c, err := l.net.ListenPacket(ctx, netip.AddrPortFrom(l.gw.Local, 0))
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxDatagram)
	for wait, strays := firstWait, 0; ; wait *= 2 {
		if err := send(c); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return silent(ctx)
		}
		for {
			n, from, err := c.ReadFrom(buf)
			if ctx.Err() != nil {
				return silent(ctx)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("receive: %w", err)
			}
			if done, err := heard(buf[:n], addrPort(from)); done {
				return err
			}
			if strays++; strays > maxStray {
				return errors.New("too many packets that are no answer")
			}
		}
	}
}

// silent says why there was no answer: time ran out, or nobody wants it any more.
func silent(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return errSilent
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		p := u.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p
}
