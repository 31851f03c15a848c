package chunks

import (
	"context"
	"time"
)

// handle takes in what a conn told. An error ends the fetch: it is about this side.
func (f *fetcher) handle(ctx context.Context, e event) error {
	s := f.sources[e.from().peer]
	if s == nil || s.conn != e.from() {
		return nil // of a stream that was given up
	}
	now := time.Now()
	switch e := e.(type) {
	case connected:
		s.up = true
		return nil
	case disconnected:
		f.lost(now, s, e)
		return nil
	case cannotWrite:
		return e.err
	}
	s.pending--
	switch e := e.(type) {
	case gotManifest:
		return f.manifest(ctx, s, e)
	case gotHave:
		f.has(now, s, e)
	case gotChunk:
		return f.chunk(now, s, e)
	case gotRefusal:
		f.refused(now, s, e)
	}
	return nil
}

func (f *fetcher) manifest(ctx context.Context, s *source, e gotManifest) error {
	f.asking--
	if f.job != nil {
		return nil
	}
	s.pause = 0
	return f.begin(ctx, e.bytes)
}

func (f *fetcher) has(now time.Time, s *source, e gotHave) {
	p := f.job.picker
	s.haveSent = false
	s.haveAt = now.Add(haveEvery)
	if !e.list {
		p.knows(s.sup, e.have)
	}
	for _, chunk := range e.news {
		p.gained(s.sup, int(chunk))
	}
	if !e.list && e.have == nil {
		s.haveAt = now.Add(24 * time.Hour) // it has everything
	}
	s.seq = e.seq
}

func (f *fetcher) chunk(now time.Time, s *source, e gotChunk) error {
	j := f.job
	size := int64(j.content.lay.size(e.chunk))
	f.useful, s.pause = now, 0
	if !s.lacks {
		s.why = nil
	}
	f.result.From[s.id] += size
	if !j.picker.done(now, s.sup, e.chunk) {
		f.result.Twice += size
		return nil
	}
	if err := j.part.note(e.chunk, e.leaf, e.siblings); err != nil {
		return err
	}
	j.have += size
	f.result.Fetched += size
	return nil
}

// refused handles a source that answers, but not with what was asked for.
func (f *fetcher) refused(now time.Time, s *source, e gotRefusal) {
	s.why = e.err
	if e.ask.Op == opChunk && (e.err.status == statusMissing || e.err.status == statusChanged || e.err.status == statusFailed) {
		f.job.picker.lacks(s.sup, int(e.ask.Chunk))
		s.lacks = true
		return
	}
	s.cancel() // try again later; the stream's end tells the rest
	f.forget(now, s)
}

// lost handles the end of a stream.
func (f *fetcher) lost(now time.Time, s *source, e disconnected) {
	s.why = e.err
	f.forget(now, s)
	if !e.bad {
		return
	}
	s.banned = true
	f.result.Bad = append(f.result.Bad, s.id)
	if f.cfg.OnBad != nil {
		f.cfg.OnBad(s.id, e.err)
	}
}

// forget puts a source back to where it was before it had a stream, with a pause before the next.
func (f *fetcher) forget(now time.Time, s *source) {
	s.cancel()
	if s.asked && f.job == nil {
		f.asking--
	}
	if f.job != nil {
		f.job.picker.drop(s.sup)
	}
	s.pause = min(max(2*s.pause, firstRetry), lastRetry)
	s.retry = now.Add(s.pause)
	s.conn, s.cancel, s.up, s.asked, s.lacks = nil, nil, false, false, false
	s.pending, s.seq, s.haveAt, s.haveSent = 0, 0, time.Time{}, false
}

// report tells how far it is, if it is time to or force is set.
func (f *fetcher) report(now time.Time, stage Stage, force bool) {
	if f.cfg.Progress == nil || !force && now.Sub(f.reported) < f.cfg.ProgressEvery {
		return
	}
	f.reported = now
	received := f.received.Load()
	p := Progress{Stage: stage, Rate: f.meter.update(now, received-f.counted)}
	f.counted = received
	if j := f.job; j != nil {
		p.Have, p.Total, p.ChunksTotal = j.have, j.size, j.content.lay.chunks()
		if j.picker != nil {
			p.Chunks = p.ChunksTotal - j.picker.left
		}
	}
	for _, s := range f.sources {
		if s.up {
			p.Peers++
		}
	}
	f.cfg.Progress(p)
}
