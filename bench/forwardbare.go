package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/2xppg/xppg/internal/udp"
)

// relayBare sends all that arrives to one address, with other bytes in place of a label, in the batches of package udp. It
// is what a relay costs that looks at nothing.
func relayBare(_ context.Context, in *bufio.Reader, out io.Writer) error {
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(line[:len(line)-1])
	if err != nil {
		return err
	}
	c, err := udp.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, c.LocalAddr())
	go func() {
		waitEOF(in)
		_ = c.Close()
	}()
	bufs, sizes, addrs := batchBuffers()
	packets := make([][]byte, len(bufs))
	for {
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			return nil //nolint:nilerr // closed, for the parent is done
		}
		for i := range n {
			packets[i], addrs[i] = bufs[i][:sizes[i]], to
			packets[i][0] = relayedType
			binary.BigEndian.PutUint32(packets[i][1:], farLabel)
		}
		_, _ = c.WriteBatch(packets[:n], addrs[:n])
	}
}

func forwardBare(_ context.Context, size int) (*flow, error) {
	f, a, b, err := startUDPFlow("bare")
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(f.relay.in, b.LocalAddr())
	line, err := f.relay.line()
	if err != nil {
		return f.fail(err)
	}
	to, err := netip.ParseAddrPort(line)
	if err != nil {
		return f.fail(err)
	}
	progress := make(chan struct{}, 1)
	f.counting(b, 0, progress)
	f.push = f.pushPackets(a, to, nil, size, loadAhead, progress)
	return f, nil
}

// counting counts in a goroutine that ends with the flow.
func (f *flow) counting(c *udp.Conn, add int, progress chan<- struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.countAll(c, add, progress)
	}()
	f.onClose(func() error {
		_ = c.Close()
		<-done
		return nil
	})
}
