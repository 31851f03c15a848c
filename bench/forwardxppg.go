package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

const (
	relayedType = 0xD0 // of packets on a circuit, and one more when a relay marked them
	farLabel    = 1    // what the far side wants on its packets
)

// relayXPPG is a node with a switch, as api runs it. The first peer that links gets a circuit without limits to each of the others.
func relayXPPG(ctx context.Context, in *bufio.Reader, out io.Writer) error {
	n, err := readCircuits(in)
	if err != nil {
		return err
	}
	conn, err := udp.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	id, err := kcptransport.NewIdentity(nil)
	if err != nil {
		return err
	}
	sw, err := relaymesh.NewSwitch(relaymesh.SwitchConfig{Write: conn.WriteBatch})
	if err != nil {
		return err
	}
	go func() { _ = sw.Run(ctx) }()
	e, err := kcptransport.Listen(kcptransport.Config{Conn: conn, Identity: id, App: "bench", Forwarder: sw})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	fmt.Fprintln(out, e.ID(), e.LocalAddr())
	var first relaymesh.Neighbor
	for i := range 1 + n {
		link, err := e.Accept(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			first = link.Hop()
			fmt.Fprintln(out, "linked")
			continue
		}
		circuit, err := sw.Connect(first, link.Hop(), relaymesh.Limits{})
		if err != nil {
			return err
		}
		circuit.SetRemote(relaymesh.SideB, farLabel)
		fmt.Fprintln(out, circuit.LabelFor(relaymesh.SideA))
	}
	waitEOF(in)
	return nil
}

// forwardXPPG links endpoints to a relay, and sends packets of the circuits of the first from its socket. What is in them looks
// like ciphertext to a relay.
func forwardXPPG(ctx context.Context, l load) (*flow, error) {
	f, from, to, err := startUDPFlow("xppg", l)
	if err != nil {
		return nil, err
	}
	var id, at string
	line, err := f.relay.line()
	if err == nil {
		_, err = fmt.Sscan(line, &id, &at)
	}
	if err != nil {
		return f.fail(err)
	}
	peer, err := kcptransport.ParsePeerID(id)
	if err != nil {
		return f.fail(err)
	}
	addr, err := netip.ParseAddrPort(at)
	if err != nil {
		return f.fail(err)
	}
	progress := make(chan struct{}, 1)
	conns := []kcptransport.PacketConn{from}
	for _, c := range to {
		conns = append(conns, &countingSink{sink: c, f: f, progress: progress})
	}
	var prefixes [][]byte
	for i, conn := range conns {
		e, err := f.xppgEndpoint(conn)
		if err != nil {
			return f.fail(err)
		}
		if _, err = e.Dial(ctx, kcptransport.Dial{Peer: peer, Addrs: []netip.AddrPort{addr}}); err != nil {
			return f.fail(err)
		}
		if line, err = f.relay.line(); err != nil {
			return f.fail(err)
		}
		if i == 0 {
			continue
		}
		var label uint32
		if _, err = fmt.Sscan(line, &label); err != nil {
			return f.fail(err)
		}
		prefixes = append(prefixes, binary.BigEndian.AppendUint32([]byte{relayedType}, label))
	}
	f.push = f.pushPackets(from, addr, prefixes, l.size, loadAhead, progress)
	return f, nil
}

// countingSink takes the packets of circuits out of what its endpoint reads, and counts them. From the first on that is nearly all
// there is: see countAll. Of others that the kernel has joined, the endpoint gets the beginning and sees that it makes no sense.
type countingSink struct {
	*sink
	f        *flow
	progress chan<- struct{}
	flows    bool // it has got one
}

// ReadViews is what its endpoint reads with: see kcptransport.PacketConn.
func (c *countingSink) ReadViews(views [][]byte, addrs []netip.AddrPort) (int, error) {
	for {
		if !c.flows {
			n, err := c.Conn.ReadViews(views, addrs)
			c.flows = n > 0 && onCircuit(views[0])
			if err != nil || !c.flows {
				return n, err
			}
			continue // the first ones are not counted
		}
		n, from, err := c.readJoined()
		switch {
		case err != nil:
			return 0, err
		case onCircuit(c.buf[:n]):
			c.f.count(n, c.progress)
		default:
			views[0], addrs[0] = c.buf[:n], from
			return 1, nil
		}
	}
}

func onCircuit(b []byte) bool {
	return len(b) >= 5 && b[0]|1 == relayedType|1 && binary.BigEndian.Uint32(b[1:]) == farLabel
}

// startFlow starts this program as a relay.
func startFlow(name string) (*flow, error) {
	r, err := startSelf(name)
	if err != nil {
		return nil, err
	}
	return flowOf(r), nil
}

// startUDPFlow starts this program as a relay, tells it how many circuits there will be, and opens sockets for all ends.
func startUDPFlow(name string, l load) (f *flow, from *udp.Conn, to []*sink, err error) {
	if f, err = startFlow(name); err != nil {
		return nil, nil, nil, err
	}
	if from, to, err = f.sockets(l.circuits); err != nil {
		_, err = f.fail(err)
		return nil, nil, nil, err
	}
	fmt.Fprintln(f.relay.in, l.circuits)
	return f, from, to, nil
}

// readCircuits reads what startUDPFlow tells a relay.
func readCircuits(in io.Reader) (n int, err error) {
	_, err = fmt.Fscanln(in, &n)
	return n, err
}

// flowOf makes a flow that ends its relay when it is closed, or hangs.
func flowOf(r *relayProcess) *flow {
	f := &flow{relay: r}
	f.onClose(r.stop)
	alarm := time.AfterFunc(time.Minute, func() { _ = r.cmd.Process.Kill() })
	f.onClose(func() error { alarm.Stop(); return nil })
	return f
}

func (f *flow) fail(err error) (*flow, error) {
	f.close()
	return nil, fmt.Errorf("bench: setting up a relay: %w", err)
}
