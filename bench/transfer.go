package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// chunk is how much each Write of a transfer is given, in bytes.
const chunk = 128 << 10

// A transfer is what became of bytes written to one end of a pipe.
type transfer struct {
	received int64
	took     time.Duration // until the last byte came, or the limit
}

// bitsPerSecond is the goodput.
func (t transfer) bitsPerSecond() float64 { return float64(t.received) * 8 / t.took.Seconds() }

// send writes total bytes to the pipe's client and reads them at its server. After limit it closes the pipe and
// reports what has come. The pipe is of no more use then.
func (p *pipe) send(total int64, limit time.Duration) (transfer, error) {
	start := time.Now()
	alarm := time.AfterFunc(limit, p.close)
	defer alarm.Stop()
	written := make(chan error, 1)
	go func() { written <- writeBytes(p.client, total) }()
	received, err := readBytes(p.server, total)
	t := transfer{received: received, took: time.Since(start)}
	if err != nil {
		late := t.took >= limit
		p.close() // so that the writer ends
		err = errors.Join(err, <-written)
		if late {
			return t, nil
		}
		return t, fmt.Errorf("bench: moving %d bytes: after %d: %w", total, received, err)
	}
	if err := <-written; err != nil {
		return t, fmt.Errorf("bench: sending %d bytes: %w", total, err)
	}
	return t, nil
}

func writeBytes(w io.Writer, total int64) error {
	buf := make([]byte, chunk)
	for total > 0 {
		n, err := w.Write(buf[:min(total, chunk)])
		if err != nil {
			return err
		}
		total -= int64(n)
	}
	return nil
}

// readBytes reads until it has total bytes and returns how many it has.
func readBytes(r io.Reader, total int64) (int64, error) {
	buf := make([]byte, chunk)
	var have int64
	for have < total {
		n, err := r.Read(buf[:min(total-have, chunk)])
		have += int64(n)
		if err != nil && have < total {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return have, err
		}
	}
	return have, nil
}
