package relaymesh

import (
	"context"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// FuzzServe gives an introducer arbitrary bytes from both sides. It must come to an end, and must not pass on more
// than its limit.
func FuzzServe(f *testing.F) {
	request := appendGreeting(nil, frameRequest, bob)
	f.Add(request, appendFrame(nil, frameAccept))
	f.Add(appendFrame(request, framePacket, make([]byte, 100)...), appendFrame(nil, frameRefuse, 4))
	f.Add([]byte{0xff, 0xff}, []byte{0})
	f.Fuzz(func(t *testing.T, asking, asked []byte) {
		const limit = 1 << 10
		b, bFar := pipe(KindIntroduced, 1<<20)
		i := NewIntroducer(IntroducerConfig{Bytes: limit, Open: func(context.Context, kcptransport.PeerID) (Stream, error) { return b, nil }})
		a, aFar := pipe(KindIntroduce, 1<<20)
		for far, bytes := range map[*end][]byte{aFar: asking, bFar: asked} {
			_, _ = far.Write(bytes[:min(len(bytes), 1<<16)])
			_ = far.CloseWrite()
		}
		start := time.Now()
		_ = i.Serve(context.Background(), alice, a)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		if s := i.Stats(); s.Active != 0 || s.Bytes > 2*limit {
			t.Errorf("stats %+v", s)
		}
		if n := len(bFar.in.buf); n > greetingLen+2*frameHeader+limit+frameHeader+2 {
			t.Errorf("the target got %d bytes", n)
		}
	})
}
