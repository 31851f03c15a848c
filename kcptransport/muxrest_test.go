package kcptransport

import (
	"io"
	"testing"
	"time"
)

// Streams whose machines were given back go on as if nothing had been, also when what follows is lost or out of order.
func TestMuxRest(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, jitter: 10 * time.Millisecond, rate: 50e6, loss: 0.1, duplicate: 0.05}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		s.Write([]byte("x"))
		r := p.accept(p.b)
		p.wantRead(r, "x")
		for i, size := range []int64{1, 100, 0, 300 << 10, 5000, 1, 2 << 20, 1} {
			want, _ := io.ReadAll(pattern(byte(i), size))
			for _, dir := range [][2]*Stream{{s, r}, {r, s}} {
				go dir[0].Write(want)
				p.wantRead(dir[1], string(want))
				if i%3 == 0 {
					pass(2 * restAfter)
				}
			}
			pass(2 * restAfter)
			p.do(func() {
				for _, m := range []*mux{p.a, p.b} {
					if m.restAt != 0 || m.log.ring != nil || m.message != nil {
						t.Errorf("after round %d a mux keeps its memory", i)
					}
					for id, c := range m.convs {
						if c.kcp != nil || c.send.segs != nil {
							t.Errorf("after round %d conversation %d keeps its machine", i, id)
						}
					}
				}
			})
		}
		s.CloseWrite()
		p.wantEOF(r)
		r.Close()
		s.Close()
		p.wantIdle()
		p.wantStreams(0)
	})
}

// What was not read yet is kept.
func TestMuxRestsUnread(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 50e6}, func(t *testing.T, p *muxPair) {
		const size = 2 << 20
		s := p.open(p.a, "k")
		go func() {
			io.Copy(s, pattern(1, size))
			s.CloseWrite()
		}()
		r := p.accept(p.b)
		pass(5 * time.Minute)
		want, _ := io.ReadAll(pattern(1, size))
		p.wantRead(r, string(want))
		p.wantEOF(r)
	})
}
