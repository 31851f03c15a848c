package chunks

import (
	"math/rand/v2"
	"time"
)

const (
	// rareSample is how many chunks are looked at to find a rare one. Enough to spread pieces well, and independent of
	// how many there are.
	rareSample = 64
	// maxHolders is how many sources may be asked for one chunk at the end.
	maxHolders = 2
)

// picker decides which chunk to ask of whom. It has no clock, no network and no lock.
type picker struct {
	lay    layout
	todo   bitmap              // missing, and asked of nobody
	left   int                 // missing
	flight map[int][]*supplier // missing, and asked of these
	rare   []uint16            // how many sources that do not have everything have each chunk; nil without such sources
	cursor int
	rng    *rand.Rand
}

// supplier is a source as the picker sees it.
type supplier struct {
	have  bitmap // nil: everything
	known bool   // whether it has told what it has
	asked map[int]bool
	bytes int // asked of it and not answered
	speed speed
}

func newSupplier() *supplier { return &supplier{asked: make(map[int]bool)} }

// newPicker starts with every chunk missing that is not in have. With swarm set, it begins somewhere in the middle, so
// that several that fetch the same have something to swap.
func newPicker(lay layout, have bitmap, swarm bool, rng *rand.Rand) *picker {
	n := lay.chunks()
	p := &picker{lay: lay, todo: newBitmap(n), flight: make(map[int][]*supplier), rng: rng}
	if swarm && n > 0 {
		p.cursor = rng.IntN(n)
	}
	for c := range n {
		if !have.has(c) {
			p.todo.set(c)
			p.left++
		}
	}
	return p
}

// knows records what a source has: nil for everything.
func (p *picker) knows(s *supplier, have bitmap) {
	p.count(s, -1)
	s.have, s.known = have, true
	p.count(s, +1)
}

// gained records that a source has one more chunk.
func (p *picker) gained(s *supplier, chunk int) {
	if s.have != nil && !s.have.has(chunk) {
		s.have.set(chunk)
		p.rare[chunk]++
	}
}

// lacks records that a source cannot give a chunk after all.
func (p *picker) lacks(s *supplier, chunk int) {
	p.answered(s, chunk)
	if s.have == nil {
		all := newBitmap(p.lay.chunks())
		all.fill(p.lay.chunks())
		p.knows(s, all)
	}
	if s.have.has(chunk) {
		s.have.clear(chunk)
		p.rare[chunk]--
	}
	p.release(s, chunk)
}

func (p *picker) count(s *supplier, by int) {
	if s.have == nil {
		return
	}
	if p.rare == nil {
		p.rare = make([]uint16, p.lay.chunks())
	}
	for c := s.have.nextCommon(nil, 0); c >= 0; c = s.have.nextCommon(nil, c+1) {
		p.rare[c] += uint16(by)
	}
}

// drop forgets a source; what was asked of it alone is to do again.
func (p *picker) drop(s *supplier) {
	p.count(s, -1)
	for c := range s.asked {
		p.release(s, c)
	}
	clear(s.asked)
	s.have, s.known, s.bytes = nil, false, 0
}

// release takes a source off a chunk in flight.
func (p *picker) release(s *supplier, chunk int) {
	holders, ok := p.flight[chunk]
	if !ok {
		return // had already
	}
	var others []*supplier
	for _, h := range holders {
		if h != s {
			others = append(others, h)
		}
	}
	if len(others) > 0 {
		p.flight[chunk] = others
		return
	}
	delete(p.flight, chunk)
	p.todo.set(chunk)
}

// answered takes a chunk off what a source owes.
func (p *picker) answered(s *supplier, chunk int) {
	if s.asked[chunk] {
		delete(s.asked, chunk)
		s.bytes -= p.lay.size(chunk)
	}
}

// done records that a source delivered a chunk, and reports whether it was still missing.
func (p *picker) done(now time.Time, s *supplier, chunk int) bool {
	p.answered(s, chunk)
	s.speed.delivered(now, p.lay.size(chunk))
	_, ok := p.flight[chunk]
	if !ok && !p.todo.has(chunk) {
		return false
	}
	delete(p.flight, chunk)
	p.todo.clear(chunk)
	p.left--
	return true
}

// next picks a chunk to ask of a source now and records it as asked; -1 when there is none.
func (p *picker) next(now time.Time, s *supplier) int {
	if !s.known {
		return -1
	}
	chunk := p.fresh(s)
	if chunk < 0 {
		chunk = p.duplicate(now, s)
	}
	if chunk < 0 {
		return -1
	}
	if len(s.asked) == 0 {
		s.speed.waiting(now)
	}
	p.todo.clear(chunk)
	p.flight[chunk] = append(p.flight[chunk], s)
	s.asked[chunk] = true
	s.bytes += p.lay.size(chunk)
	return chunk
}

// fresh picks a chunk that nobody was asked for: in order as long as every source has everything, which suits disks,
// and otherwise the rarest of a random sample, so that sources that are still fetching get different ones to swap.
func (p *picker) fresh(s *supplier) int {
	if p.rare == nil {
		return p.after(s, &p.cursor)
	}
	from := p.rng.IntN(p.lay.chunks())
	best := -1
	for range rareSample {
		c := p.after(s, &from)
		if c < 0 {
			break
		}
		if best < 0 || p.rare[c] < p.rare[best] {
			best = c
		}
	}
	return best
}

// after returns the next chunk to do that s has, from a cursor that it moves on and around.
func (p *picker) after(s *supplier, cursor *int) int {
	c := p.todo.nextCommon(s.have, *cursor)
	if c < 0 && *cursor > 0 {
		c = p.todo.nextCommon(s.have, 0)
	}
	if c >= 0 {
		*cursor = (c + 1) % p.lay.chunks()
	}
	return c
}

// duplicate picks, once every missing chunk was asked for and for a source with nothing else to do, a chunk that another will take much longer to deliver. So the
// end of a download does not wait for its slowest source, and little comes twice when all are alike.
func (p *picker) duplicate(now time.Time, s *supplier) int {
	if len(p.flight) < p.left || len(s.asked) >= 2 {
		return -1 // there are chunks that nobody was asked for, or enough to do
	}
	unit := p.lay.m.ChunkSize
	best, worst := -1, 2*s.speed.takes(s.bytes+unit)
	for c, holders := range p.flight {
		if len(holders) >= maxHolders || s.asked[c] || s.have != nil && !s.have.has(c) {
			continue
		}
		h := holders[0]
		if d := h.speed.remaining(now, h.bytes, unit); d > worst || best >= 0 && d == worst && c > best {
			best, worst = c, d
		}
	}
	return best
}
