package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/pion/stun/v2"

	"github.com/2xppg/xppg/internal/udp"
)

const (
	coturnChannel = 0x4000
	coturnHeader  = 4  // of ChannelData: channel, length
	coturnAhead   = 64 // packets under way: its sockets' buffers hold few, and it takes them one by one
)

// forwardCoturn has coturn carry ChannelData from an allocation to a peer without one, which is the least work that it can
// have: nothing is put around the packets again.
func forwardCoturn(ctx context.Context, l load) (*flow, error) {
	server, err := exec.LookPath("turnserver")
	if err != nil {
		return nil, fmt.Errorf("bench: coturn is not installed (package coturn; -contender leaves it out): %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-coturn-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), server, "-n", "--no-auth", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1",
		"--listening-port="+strconv.Itoa(int(port)), "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli",
		"--relay-threads=1", "--log-file="+dir+"/log", "--simple-log", "--no-stdout-log",
		"--pidfile="+dir+"/pid", "--userdb="+dir+"/db", "--realm=bench")
	r, err := startRelay(cmd)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	f := &flow{relay: r}
	f.onClose(func() error { return os.RemoveAll(dir) })
	f.onClose(r.stop)
	a, to, err := f.sockets(1)
	if err != nil {
		return f.fail(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	if err := allocate(ctx, a, at, to[0].LocalAddr().(*net.UDPAddr)); err != nil {
		return f.fail(err)
	}
	progress := make(chan struct{}, 1)
	f.counting(to[0], l.size, coturnHeader, progress)
	prefix := binary.BigEndian.AppendUint16(nil, coturnChannel)
	prefix = binary.BigEndian.AppendUint16(prefix, uint16(l.size-coturnHeader))
	f.push = f.pushPackets(a, at, [][]byte{prefix}, l.size, coturnAhead, progress)
	return f, nil
}

// freePort returns a port that nothing listened on a moment ago.
func freePort() (uint16, error) {
	c, err := listenLoopback()
	if err != nil {
		return 0, err
	}
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), c.Close()
}

// allocate asks for an allocation and a channel to the peer (RFC 8656, sections 7 and 12).
func allocate(ctx context.Context, c *udp.Conn, server netip.AddrPort, peer *net.UDPAddr) error {
	transport := stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	if err := turnRequest(ctx, c, server, stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport); err != nil {
		return err
	}
	channel := stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{coturnChannel >> 8, coturnChannel & 0xff, 0, 0}}
	return turnRequest(ctx, c, server, stun.NewType(stun.MethodChannelBind, stun.ClassRequest), channel, peerAddress{peer})
}

type peerAddress struct{ *net.UDPAddr }

// AddTo implements stun.Setter.
func (p peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.IP, Port: p.Port}.AddToAs(m, stun.AttrXORPeerAddress)
}

// turnRequest repeats a request until there is an answer, as the server may not listen yet.
func turnRequest(ctx context.Context, c *udp.Conn, server netip.AddrPort, setters ...stun.Setter) error {
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		return err
	}
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	bufs, sizes, addrs := batchBuffers()
	for range 50 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.WriteBatch([][]byte{m.Raw}, []netip.AddrPort{server}); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			continue
		}
		for i := range n {
			answer := &stun.Message{Raw: bufs[i][:sizes[i]]}
			if answer.Decode() != nil || answer.TransactionID != m.TransactionID {
				continue
			}
			if answer.Type.Class != stun.ClassSuccessResponse {
				return fmt.Errorf("bench: coturn answers %s", answer)
			}
			return nil
		}
	}
	return errors.New("bench: coturn does not answer")
}
