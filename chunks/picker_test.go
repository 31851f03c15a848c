package chunks

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_700_000_000, 0)

func testLayout(chunks int) layout { return newLayout(manifest(file("a", int64(chunks)<<18))) }

func testPicker(chunks int) *picker {
	return newPicker(testLayout(chunks), newBitmap(chunks), false, rand.New(rand.NewPCG(1, 2)))
}

// whole adds a source that has everything.
func (p *picker) whole() *supplier {
	s := newSupplier()
	p.knows(s, nil)
	return s
}

func (p *picker) partial(chunks ...int) *supplier {
	s := newSupplier()
	b := newBitmap(p.lay.chunks())
	for _, c := range chunks {
		b.set(c)
	}
	p.knows(s, b)
	return s
}

func wantNext(t *testing.T, p *picker, now time.Time, s *supplier, want ...int) {
	t.Helper()
	for _, w := range want {
		if got := p.next(now, s); got != w {
			t.Fatalf("chunk %d, want %d", got, w)
		}
	}
}

func TestPickerInOrder(t *testing.T) {
	p := testPicker(4)
	a, b := p.whole(), p.whole()
	wantNext(t, p, t0, a, 0, 1)
	wantNext(t, p, t0, b, 2)
	wantNext(t, p, t0, a, 3, -1)
	p.drop(b)
	wantNext(t, p, t0, a, 2, -1)
	wantNext(t, p, t0, newSupplier(), -1)
}

func TestPickerRarest(t *testing.T) {
	p := testPicker(8)
	p.partial(0, 1, 2, 3, 4, 5, 6)
	p.partial(0, 1, 2, 3, 4, 5)
	c := p.partial(1, 6, 7)
	wantNext(t, p, t0, c, 7, 6, 1, -1)
	p.gained(c, 2)
	p.gained(c, 2)
	wantNext(t, p, t0, c, 2, -1)
}

func TestPickerLacks(t *testing.T) {
	p := testPicker(3)
	a := p.whole()
	wantNext(t, p, t0, a, 0, 1)
	p.lacks(a, 1)
	wantNext(t, p, t0, a, 2, -1)
	b := p.whole()
	wantNext(t, p, t0, b, 1)
}

// Only when everything was asked for, and only from a source that takes much longer, a chunk is asked for twice.
func TestPickerEnd(t *testing.T) {
	p := testPicker(3)
	slow, fast := p.whole(), p.whole()
	wantNext(t, p, t0, slow, 0)
	wantNext(t, p, t0, fast, 1, 2)
	now := t0
	for _, c := range []int{1, 2} {
		now = now.Add(50 * time.Millisecond)
		p.done(now, fast, c)
		wantNext(t, p, now, fast, -1) // the slow one may still be as fast
	}
	now = now.Add(time.Second)
	wantNext(t, p, now, fast, 0, -1)
	if !p.done(now, fast, 0) || p.left != 0 {
		t.Fatal("not done")
	}
	if p.done(now, slow, 0) {
		t.Fatal("what came twice counts twice")
	}
	if slow.bytes != 0 || fast.bytes != 0 {
		t.Fatal("the books do not balance")
	}
}

// Whatever happens, every chunk is missing and to do, missing and asked of somebody, or had.
func TestPickerBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "chunks")
		p := testPicker(n)
		now := t0
		sources := []*supplier{p.whole(), p.partial(0, n/2), p.whole()}
		had := make(map[int]bool)
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				s := rapid.SampledFrom(sources).Draw(t, "s")
				if c := p.next(now, s); c >= 0 && (had[c] || s.have != nil && !s.have.has(c)) {
					t.Fatalf("asked for chunk %d", c)
				}
			},
			"answer": func(t *rapid.T) {
				s := rapid.SampledFrom(sources).Draw(t, "s")
				for c := range n {
					if !s.asked[c] {
						continue
					}
					if rapid.Bool().Draw(t, "lacks") {
						p.lacks(s, c)
					} else if p.done(now, s, c) == had[c] {
						t.Fatalf("chunk %d was new: %v", c, !had[c])
					} else {
						had[c] = true
					}
					return
				}
			},
			"drop": func(t *rapid.T) {
				s := rapid.SampledFrom(sources).Draw(t, "s")
				p.drop(s)
				p.knows(s, nil)
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(t *rapid.T) {
				if p.left != n-len(had) {
					t.Fatalf("%d left of %d with %d had", p.left, n, len(had))
				}
				for c := range n {
					if places := fmt.Sprint(p.todo.has(c), len(p.flight[c]) > 0, had[c]); places != "true false false" &&
						places != "false true false" && places != "false false true" {
						t.Fatalf("chunk %d: to do, in flight, had: %s", c, places)
					}
				}
			},
		})
	})
}

func TestSpeed(t *testing.T) {
	var s speed
	if s.rate() != 0 || s.takes(1000) != 0 {
		t.Error("something is known before anything came")
	}
	s.waiting(t0)
	if d := s.remaining(t0.Add(time.Second), 2000, 1000); d != 2*time.Second {
		t.Errorf("after a second of silence: %v", d)
	}
	for i := range 20 {
		s.delivered(t0.Add(time.Duration(i+1)*100*time.Millisecond), 1000)
	}
	if r := s.rate(); r < 9_900 || r > 10_100 {
		t.Errorf("%f", r)
	}
	if d := s.takes(1000); d < 99*time.Millisecond || d > 101*time.Millisecond {
		t.Errorf("%v", d)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	now := t0
	m.update(now, 0)
	for range 100 {
		now = now.Add(200 * time.Millisecond)
		m.update(now, 200)
	}
	if m.rate < 990 || m.rate > 1010 {
		t.Errorf("%f", m.rate)
	}
	for range 50 {
		now = now.Add(200 * time.Millisecond)
		m.update(now, 0)
	}
	if m.rate > 20 {
		t.Errorf("10 s after the end: %f", m.rate)
	}
}
