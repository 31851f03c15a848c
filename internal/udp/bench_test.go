package udp

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

const benchSize = 1232

// BenchmarkLoopback sends packets of 1,232 bytes in batches of 64 to a reader in the same process, never more ahead of
// it than the socket buffer holds.
func BenchmarkLoopback(b *testing.B) {
	for name, open := range map[string]func() *Conn{
		"native": func() *Conn { return mustListen(b, "127.0.0.1:0") },
		"single": func() *Conn {
			c := mustListen(b, "127.0.0.1:0")
			c.engine = newSingle(plainSocket(b, c), c.refused)
			return c
		},
	} {
		b.Run(name, func(b *testing.B) { benchLoopback(b, open(), open()) })
	}
}

func benchLoopback(b *testing.B, from, to *Conn) {
	const batch, ahead = 64, 512
	var got atomic.Int64
	ended, progress := make(chan error), make(chan struct{}, 1)
	go func() {
		bufs, sizes, addrs := batchOf(batch, 1500)
		for {
			n, err := to.ReadBatch(bufs, sizes, addrs)
			if err != nil {
				ended <- err
				return
			}
			got.Add(int64(n))
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	bufs, _, addrs := batchOf(batch, benchSize)
	for i := range addrs {
		addrs[i] = at(to, "127.0.0.1")
	}
	b.SetBytes(benchSize)
	b.ReportAllocs()
	sent := 0
	lost := time.NewTimer(patience)
	defer lost.Stop()
	for b.Loop() {
		if sent++; sent%batch != 0 {
			continue
		}
		if n, err := from.WriteBatch(bufs, addrs); n != batch || err != nil {
			b.Fatal(n, err)
		}
		for int64(sent)-got.Load() > ahead {
			select {
			case <-progress:
			case <-lost.C:
				b.Fatal("packets were lost")
			}
		}
	}
	b.StopTimer()
	to.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		b.Fatal(err)
	}
}

// TestNoAllocations holds the promise of the package comment.
func TestNoAllocations(t *testing.T) {
	a, b := mustListen(t, ":0"), mustListen(t, ":0")
	bufs, sizes, from := batchOf(8, 1500)
	out, _, to := batchOf(8, benchSize)
	ips := loopbacks()
	for i := range to {
		to[i] = at(b, ips[i/4%len(ips)])
	}
	round := func() {
		if n, err := a.WriteBatch(out, to); n != 8 || err != nil {
			t.Fatal(n, err)
		}
		for got := 0; got < 8; {
			n, err := b.ReadBatch(bufs, sizes, from)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations for a batch of 8 packets", n)
	}
}
