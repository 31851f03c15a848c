package main

import (
	"context"
	"time"
)

// benchLoopback measures one stream over the system's loopback device.
func benchLoopback(ctx context.Context, c contender, s sizes) (result, error) {
	p, err := c.loopback(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	before := cpuTime()
	t, err := p.send(s.loopback, s.limit)
	if err != nil {
		return nil, err
	}
	r := result{{"Mbit/s", t.bitsPerSecond() / 1e6}}
	if used := cpuTime() - before; used > 0 {
		r = append(r, figure{"CPU s/GB", used.Seconds() / (float64(t.received) / 1e9)})
	}
	return r, nil
}

// handshakeLimit bounds the opening of a pipe.
const handshakeLimit = 10 * time.Second
