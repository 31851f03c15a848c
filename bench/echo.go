package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

const echoSize = 100 // bytes

// benchEcho measures round trips of small messages on one stream, back to back, or one every so often.
func benchEcho(every time.Duration) func(context.Context, contender, sizes) (result, error) {
	return func(ctx context.Context, c contender, s sizes) (result, error) {
		p, err := c.loopback(ctx)
		if err != nil {
			return nil, err
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			serveEcho(p.server)
		}()
		defer func() {
			p.close()
			<-served
		}()
		alarm := time.AfterFunc(s.limit, p.close)
		defer alarm.Stop()
		count := s.echoes
		if every > 0 {
			count = s.spacedEchoes
		}
		times, err := echoes(p.client, count, every)
		if err != nil {
			return nil, fmt.Errorf("bench: echo: %w", err)
		}
		return result{{"p50 µs", micros(quantile(times, 0.5))}, {"p99 µs", micros(quantile(times, 0.99))}}, nil
	}
}

// serveEcho answers until the stream ends.
func serveEcho(rw io.ReadWriter) {
	for b := make([]byte, echoSize); echoOnce(rw, b) == nil; {
	}
}

// echoes times count round trips after a tenth as many to warm up, and returns them in order of size.
func echoes(rw io.ReadWriter, count int, every time.Duration) ([]time.Duration, error) {
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	var times []time.Duration
	b := make([]byte, echoSize)
	for i := range count + count/10 {
		if tick != nil {
			<-tick
		}
		start := time.Now()
		if err := ask(rw, b); err != nil {
			return nil, err
		}
		if i >= count/10 {
			times = append(times, time.Since(start))
		}
	}
	slices.Sort(times)
	return times, nil
}

// quantile returns the least of the ordered times that the part q of them does not exceed.
func quantile(times []time.Duration, q float64) time.Duration {
	return times[max(0, int(math.Ceil(q*float64(len(times))))-1)]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
