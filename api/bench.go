package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// A bench stream begins with a direction and a count of bytes. The side that
// takes in the bytes answers with one byte when it has them all.
const (
	benchUpload   = 0 // the opener sends
	benchDownload = 1 // the other side sends
	benchHeader   = 9
	benchMost     = 1 << 40
	benchBuffer   = 128 << 10
)

// BenchResult is what a throughput measurement found.
type BenchResult struct {
	Bytes     int64         // payload moved
	Elapsed   time.Duration // from the first byte to the last acknowledged
	WireBytes uint64        // sent and received on the link below, headers and all
}

// Bench moves bytes over streams to a connected peer that was started with
// AllowBench, or from it when reverse is set, and measures it. streams is 1 to
// 64; each carries its share.
func (pg *Playground) Bench(ctx context.Context, id kcptransport.PeerID, bytes int64, streams int, reverse bool) (BenchResult, error) {
	if bytes < 1 || bytes > benchMost || streams < 1 || streams > 64 {
		return BenchResult{}, fmt.Errorf("api: bench of %d bytes over %d streams (1 to 64 streams, 1 byte to 1 TiB)", bytes, streams)
	}
	p, err := pg.peer(id)
	if err != nil {
		return BenchResult{}, err
	}
	before := p.link.Stats()
	start := time.Now()
	errs := make([]error, streams)
	var wg sync.WaitGroup
	for i := range streams {
		share := bytes / int64(streams)
		if i == 0 {
			share += bytes % int64(streams)
		}
		wg.Go(func() { errs[i] = p.bench(ctx, share, reverse) })
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return BenchResult{}, err
	}
	after := p.link.Stats()
	wire := after.BytesSent + after.BytesReceived - before.BytesSent - before.BytesReceived
	return BenchResult{Bytes: bytes, Elapsed: elapsed, WireBytes: wire}, nil
}

func (p *peer) bench(ctx context.Context, n int64, reverse bool) error {
	s, err := p.open(ctx, kindBench)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	stop := context.AfterFunc(ctx, func() { s.Reset(codeClosed) })
	defer stop()
	head := [benchHeader]byte{benchUpload}
	if reverse {
		head[0] = benchDownload
	}
	binary.BigEndian.PutUint64(head[1:], uint64(n))
	if _, err = s.Write(head[:]); err == nil {
		if reverse {
			err = benchReceive(s, n)
		} else {
			err = benchSend(s, n)
		}
	}
	var reset *kcptransport.ResetError
	if errors.As(err, &reset) && reset.Code == codeUnknownKind {
		return fmt.Errorf("api: peer %s takes no part in measurements (it must be started with --allow-bench)", p.id.Short())
	}
	if err != nil {
		return fmt.Errorf("api: bench with %s: %w", p.id.Short(), err)
	}
	return nil
}

func (p *peer) serveBench(s stream) error {
	var head [benchHeader]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint64(head[1:])
	if n > benchMost {
		return fmt.Errorf("%w: bench of %d bytes", errProtocol, n)
	}
	if head[0] == benchDownload {
		return benchSend(s, int64(n))
	}
	return benchReceive(s, int64(n))
}

func benchSend(s io.ReadWriter, n int64) error {
	buf := make([]byte, benchBuffer)
	for n > 0 {
		k, err := s.Write(buf[:min(n, benchBuffer)])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	_, err := io.ReadFull(s, buf[:1])
	return err
}

func benchReceive(s io.ReadWriter, n int64) error {
	buf := make([]byte, benchBuffer)
	for n > 0 {
		k, err := s.Read(buf[:min(n, benchBuffer)])
		n -= int64(k)
		if err != nil && n > 0 {
			return err
		}
	}
	_, err := s.Write([]byte{1})
	return err
}
