package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/internal/udp"
)

// A flow is one way through a relay that is a process of its own. This process makes the load and counts what arrives.
type flow struct {
	pipe
	relay *relayProcess
	// push sends as much as it may at once, n bytes a packet, and returns when it may send more.
	push func(size int) error
	// got is how many bytes have arrived, without the headers of IP and UDP.
	got atomic.Int64
}

// A load is what a relay has to carry: packets of a size, on one or more circuits in turns. All come from one socket, and each
// circuit goes to another.
type load struct{ size, circuits int }

// relays are the contenders of the benchmarks of forwarding.
var relays = []contender{
	{name: "xppg relay", forward: forwardXPPG},
	{name: "bare forwarder", forward: forwardBare},
	{name: "coturn ChannelData", forward: forwardCoturn},
	{name: "libp2p circuit v2", forward: forwardLibp2p},
}

// relaysOfMany can be loaded with more than one circuit.
var relaysOfMany = relays[:2]

// benchForward measures how much a relay carries from one socket to another on loopback . The relay has
// the first processor for itself, the load the others, where the system can tell them so.
func benchForward(l load) func(context.Context, contender, sizes) (result, error) {
	return func(ctx context.Context, c contender, s sizes) (_ result, err error) {
		f, err := c.forward(ctx, l)
		if err != nil {
			return nil, err
		}
		defer f.close()
		defer separate(f.relay.pid())()
		measuring, stop := context.WithCancel(ctx)
		pushed := make(chan error, 1)
		go func() { pushed <- f.flood(measuring, l.size) }()
		defer func() {
			stop()
			alarm := time.AfterFunc(s.forward, f.close) // a stream's Write may wait for a reader
			defer alarm.Stop()
			err = errors.Join(err, <-pushed)
		}()
		pause(measuring, s.forward/4) // to warm up
		start, bytes, cpu := time.Now(), f.got.Load(), f.relay.cpuTime()
		pause(measuring, s.forward)
		took, used := time.Since(start).Seconds(), f.relay.cpuTime()-cpu
		moved := float64(f.got.Load() - bytes)
		if moved == 0 {
			return nil, errors.New("bench: nothing arrived")
		}
		packets := moved / float64(l.size)
		r := result{{"packets/s", packets / took}, {"Mbit/s", moved * 8 / 1e6 / took}}
		if used > 0 {
			r = append(r, figure{"CPU s/GB", used.Seconds() / (moved / 1e9)}, figure{"packets/CPU s", packets / used.Seconds()})
		}
		return r, nil
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// flood pushes until ctx ends.
func (f *flow) flood(ctx context.Context, size int) error {
	for ctx.Err() == nil {
		err := f.push(size)
		if err != nil && ctx.Err() == nil { // later, it is what ended it
			return fmt.Errorf("bench: pushing: %w", err)
		}
	}
	return nil
}

// The load of relays of datagrams.
const (
	loadBatch  = 64
	loadAhead  = 512                  // packets under way: more would not fit in the buffers of sockets
	sinkBuffer = 4 << 20              // bytes
	loadGiveUp = 5 * time.Millisecond // without an arrival, what is under way is lost
)

// pushPackets returns a push that keeps at most ahead packets under way. prefixes are what they begin with, in turns. progress
// says that something has arrived.
func (f *flow) pushPackets(from *udp.Conn, to netip.AddrPort, prefixes [][]byte, size, ahead int, progress <-chan struct{}) func(int) error {
	batch := min(loadBatch, ahead)
	bufs, addrs := make([][]byte, batch), make([]netip.AddrPort, batch)
	for i := range bufs {
		bufs[i], addrs[i] = make([]byte, size), to
		copy(bufs[i], prefixes[i%len(prefixes)])
	}
	lost := time.NewTimer(loadGiveUp)
	var sent int64
	return func(size int) error {
		for int(sent-f.got.Load()/int64(size)) > ahead-batch {
			lost.Reset(loadGiveUp)
			select {
			case <-progress:
			case <-lost.C:
				sent = f.got.Load() / int64(size)
			}
		}
		n, err := from.WriteBatch(bufs, addrs)
		sent += int64(n)
		return err
	}
}

// count adds what arrived, and tells push.
func (f *flow) count(bytes int, progress chan<- struct{}) {
	f.got.Add(int64(bytes))
	select {
	case progress <- struct{}{}:
	default:
	}
}

// countAll counts what arrives at a socket until it is closed, packets of a size of which a relay took off cut bytes. They are read
// as the kernel has joined them: to take them apart would cost the load more than all else, and then it is not the relay that is
// measured.
func (f *flow) countAll(c *sink, size, cut int, progress chan<- struct{}) {
	for {
		n, _, err := c.readJoined()
		if err != nil {
			return
		}
		f.count(n/(size-cut)*size, progress)
	}
}

// sink is a socket at which packets of a flow end.
type sink struct {
	*udp.Conn
	raw *net.UDPConn // the same
	buf []byte
}

func newSink() (*sink, error) {
	raw, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)))
	if err != nil {
		return nil, err
	}
	_, _ = raw.SetReadBuffer(sinkBuffer), raw.SetWriteBuffer(sinkBuffer) // as far as the system allows
	return &sink{udp.Wrap(raw), raw, make([]byte, 1<<16)}, nil
}

// readJoined reads into buf one packet, or several of one sender that the kernel has joined.
func (c *sink) readJoined() (int, netip.AddrPort, error) { return c.raw.ReadFromUDPAddrPort(c.buf) }

func batchBuffers() (bufs [][]byte, sizes []int, addrs []netip.AddrPort) {
	bufs = make([][]byte, loadBatch)
	for i := range bufs {
		bufs[i] = make([]byte, 1500)
	}
	return bufs, make([]int, loadBatch), make([]netip.AddrPort, loadBatch)
}

// sockets opens the ends of a flow: where it begins, and where each of its circuits ends.
func (f *flow) sockets(circuits int) (from *udp.Conn, to []*sink, err error) {
	if from, err = udp.Listen("127.0.0.1:0"); err != nil {
		return nil, nil, err
	}
	f.onClose(from.Close)
	for range circuits {
		c, err := newSink()
		if err != nil {
			return nil, nil, err
		}
		f.onClose(c.Close)
		to = append(to, c)
	}
	return from, to, nil
}
