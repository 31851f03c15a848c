package main

import (
	"context"
	"errors"
	"fmt"
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

// countAll counts all that arrives at a socket until it is closed. add is what a relay took off each packet.
func (f *flow) countAll(c *udp.Conn, add int, progress chan<- struct{}) {
	bufs, sizes, addrs := batchBuffers()
	for {
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			return
		}
		bytes := n * add
		for _, s := range sizes[:n] {
			bytes += s
		}
		f.count(bytes, progress)
	}
}

func batchBuffers() (bufs [][]byte, sizes []int, addrs []netip.AddrPort) {
	bufs = make([][]byte, loadBatch)
	for i := range bufs {
		bufs[i] = make([]byte, 1500)
	}
	return bufs, make([]int, loadBatch), make([]netip.AddrPort, loadBatch)
}

// sockets opens the ends of a flow: where it begins, and where each of its circuits ends.
func (f *flow) sockets(circuits int) (from *udp.Conn, to []*udp.Conn, err error) {
	open := func() *udp.Conn {
		c, e := udp.Listen("127.0.0.1:0")
		if e != nil {
			err = e
			return nil
		}
		f.onClose(c.Close)
		return c
	}
	from = open()
	for range circuits {
		to = append(to, open())
	}
	return from, to, err
}
