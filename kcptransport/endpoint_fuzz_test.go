package kcptransport

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wireConn is a socket whose packets the test makes and takes itself.
type wireConn struct {
	in     chan fakePacket
	closed chan struct{}
	once   sync.Once

	mu  sync.Mutex
	out []fakePacket // and where they went
}

func newWireConn() *wireConn {
	return &wireConn{in: make(chan fakePacket), closed: make(chan struct{})}
}

func (c *wireConn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	select {
	case p := <-c.in:
		sizes[0], addrs[0] = copy(bufs[0], p.b), p.from
		return 1, nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *wireConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range bufs {
		c.out = append(c.out, fakePacket{slices.Clone(b), addrs[i]})
	}
	return len(bufs), nil
}

func (c *wireConn) LocalAddr() net.Addr             { return net.UDPAddrFromAddrPort(nodeAddrPort(2)) }
func (c *wireConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }
func (c *wireConn) Close() error                    { c.once.Do(func() { close(c.closed) }); return nil }

// take returns what was sent since the last call.
func (c *wireConn) take() []fakePacket {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	return out
}

// wirePeer is a peer that the test plays by hand.
type wirePeer struct {
	*testing.T
	conn *wireConn
	est  *established
	from netip.AddrPort
	pn   uint64
}

// dialWire opens a link to e, whose socket is conn.
func dialWire(t *testing.T, e *Endpoint, conn *wireConn) *wirePeer {
	p := &wirePeer{T: t, conn: conn, from: nodeAddrPort(1)}
	i, err := newInitiator(testConfig(1), e.ID(), 7, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	p.raw(p.from, i.first())
	out := conn.take()
	if len(out) != 1 {
		t.Fatalf("%d answers to IK1", len(out))
	}
	if _, p.est, err = i.handle(out[0].b); err != nil {
		t.Fatal(err)
	}
	p.sealed(p.from, appendProbe(nil, 1))
	if len(conn.take()) == 0 || e.Link(testIdentity(1).ID()) == nil {
		t.Fatal("the probe made no link")
	}
	return p
}

func (p *wirePeer) raw(from netip.AddrPort, b []byte) { p.conn.in <- fakePacket{b, from} }

// sealed sends an authentic packet and returns it.
func (p *wirePeer) sealed(from netip.AddrPort, frames []byte) []byte {
	b := p.est.keys.seal(nil, p.est.remoteIndex, p.pn, frames)
	p.pn++
	p.raw(from, b)
	return b
}

// FuzzEndpointPacket has strangers, and a peer that obeys no rule, send whatever they like. The endpoint must go on,
// keep little, and close in time.
func FuzzEndpointPacket(f *testing.F) {
	probe := appendProbe(nil, 5)
	script := func(ops ...[]byte) (s []byte) {
		for _, op := range ops {
			s = append(append(s, op[0], byte(len(op)-1)), op[1:]...)
		}
		return s
	}
	op := func(kind byte, b []byte) []byte { return append([]byte{kind}, b...) }
	push := appendSegmentHeader(nil, 2, kcpPush, 128, 0, 0, 0)
	kcp, at := openFrame(nil, frameKCP)
	kcp = closeFrame(append(kcp, push...), at)
	f.Add(script(op(0, []byte{0xC8, 1, 2, 3, 4}), op(1, []byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42})))
	f.Add(script(op(2, probe), op(3, probe), op(4, []byte{200}), op(5, probe)))
	f.Add(script(op(2, kcp), op(2, appendDatagram(nil, []byte("x"))), op(2, appendStreamGone(nil, 2)), op(3, appendAnswer(nil, 9, nodeAddrPort(3)))))
	f.Add(script(op(3, appendClose(nil, 7, "bye")), op(4, []byte{255}), op(2, probe)))
	f.Add(script(op(0, append([]byte{0xC0, 1, 0, 0, 0, 9, 1}, make([]byte, 200)...)), op(0, []byte{0xC6, 1, 0, 0, 0, 9, 2})))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runWireScript(t, script) })
	})
}

func runWireScript(t *testing.T, script []byte) {
	conn := newWireConn()
	e, err := Listen(Config{Conn: conn, Identity: testIdentity(2), App: "test", Rand: seeded(2), MaxStreams: 8})
	if err != nil {
		t.Fatal(err)
	}
	peer := dialWire(t, e, conn)
	l, err := e.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			s, err := l.AcceptStream(context.Background())
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(s, s)
				s.Close()
			}()
		}
	}()
	s, err := l.OpenStream(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write(make([]byte, 3000))
	for len(script) >= 2 {
		kind, n := script[0], min(int(script[1]), len(script)-2)
		b := script[2 : 2+n]
		script = script[2+n:]
		elsewhere := netip.AddrPortFrom(nodeAddr(9, kind>>4), 999)
		switch kind % 6 {
		case 0:
			peer.raw(peer.from, b)
		case 1:
			peer.raw(elsewhere, b)
		case 2:
			peer.sealed(peer.from, b)
		case 3:
			peer.sealed(elsewhere, b)
		case 4:
			<-time.After(time.Duration(n*n) * 10 * time.Millisecond)
		case 5:
			again := peer.sealed(peer.from, b)
			peer.raw(elsewhere, again)
		}
	}
	synctest.Wait()
	if n := len(l.Paths()); n > maxPaths {
		t.Errorf("%d paths", n)
	}
	if info, ok := l.Path(); ok && info.Path.Addr != peer.from {
		t.Errorf("the path in use is %v, where nobody answered anything", info.Path)
	}
	if l.Err() == nil && len(e.Links()) != 1 {
		t.Errorf("%d links", len(e.Links()))
	}
	start := time.Now()
	e.Close()
	if took := time.Since(start); took > time.Second {
		t.Errorf("closing took %v", took)
	}
}
