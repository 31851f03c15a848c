package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
)

// relayBare sends all that arrives on, with other bytes in place of a label, in the batches of package udp. It is what a relay
// costs that looks at nothing, or, when there are several addresses, at the last byte of the label.
func relayBare(_ context.Context, in *bufio.Reader, out io.Writer) error {
	n, err := readCircuits(in)
	if err != nil {
		return err
	}
	to := make([]netip.AddrPort, n)
	for i := range to {
		var text string
		if _, err = fmt.Fscanln(in, &text); err != nil {
			return err
		}
		if to[i], err = netip.ParseAddrPort(text); err != nil {
			return err
		}
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
	carryBare(c, to)
	return nil
}

// carryBare carries on until the socket is closed.
func carryBare(c kcptransport.PacketConn, to []netip.AddrPort) {
	bufs, sizes, addrs := batchBuffers()
	packets := make([][]byte, len(bufs))
	for {
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			return
		}
		for i := range n {
			packets[i], addrs[i] = bufs[i][:sizes[i]], to[0]
			if len(to) > 1 {
				addrs[i] = to[int(packets[i][4])%len(to)]
			}
			packets[i][0] = relayedType
			binary.BigEndian.PutUint32(packets[i][1:], farLabel)
		}
		_, _ = c.WriteBatch(packets[:n], addrs[:n])
	}
}

func forwardBare(_ context.Context, l load) (*flow, error) {
	f, from, to, err := startUDPFlow("bare", l)
	if err != nil {
		return nil, err
	}
	var prefixes [][]byte
	for i, c := range to {
		fmt.Fprintln(f.relay.in, c.LocalAddr())
		prefixes = append(prefixes, binary.BigEndian.AppendUint32([]byte{relayedType}, uint32(i)))
	}
	line, err := f.relay.line()
	if err != nil {
		return f.fail(err)
	}
	at, err := netip.ParseAddrPort(line)
	if err != nil {
		return f.fail(err)
	}
	progress := make(chan struct{}, 1)
	for _, c := range to {
		f.counting(c, l.size, 0, progress)
	}
	f.push = f.pushPackets(from, at, prefixes, l.size, loadAhead, progress)
	return f, nil
}

// counting counts in a goroutine that ends with the flow.
func (f *flow) counting(c *sink, size, cut int, progress chan<- struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.countAll(c, size, cut, progress)
	}()
	f.onClose(func() error {
		_ = c.Close()
		<-done
		return nil
	})
}
