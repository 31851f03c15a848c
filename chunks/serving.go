package chunks

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// serving is one stream of a Server: a reader that takes requests in and a writer that answers them in order, one at
// a time. Requests that wait are small; the bytes of an answer are read when it is sent.
type serving struct {
	server *Server
	stream Stream
	idle   time.Duration
	slots  chan struct{} // of the peer, shared by its streams

	buf []byte // of the writer: header and chunk side by side, so that both leave in one Write
}

// headRoom is kept free before the chunk in serving.buf.
const headRoom = frameHeader + maxResponse

// run answers requests until the peer closes its half.
func (v *serving) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan request, cap(v.slots))
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		failed = v.answerAll(queue, func() {
			cancel()         // ends a reader that waits for a slot
			v.stream.Close() // ends a reader that waits for the peer
		})
	})
	err := v.readAll(ctx, queue)
	close(queue)
	wg.Wait()
	if failed != nil {
		return failed
	}
	return err
}

func (v *serving) touch() error { return v.stream.SetDeadline(time.Now().Add(v.idle)) }

// readAll takes requests in. A peer that asks for more than it may is not read on, so its own window stops it.
func (v *serving) readAll(ctx context.Context, queue chan<- request) error {
	buf := make([]byte, maxRequest)
	for {
		if err := v.touch(); err != nil {
			return err
		}
		var r request
		if err := readFrame(v.stream, buf, &r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if len(r.Root) != len(Root{}) {
			return errWire
		}
		select {
		case v.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		queue <- r // has room: it is as long as there are slots
	}
}

// answerAll answers what the reader took in. After a failure it stops the reader and empties the queue.
func (v *serving) answerAll(queue <-chan request, stop func()) (failed error) {
	for r := range queue {
		if failed == nil {
			v.server.requests.Add(1)
			if failed = v.answer(r); failed != nil {
				stop()
			}
		}
		<-v.slots
	}
	if failed == nil {
		failed = v.stream.CloseWrite()
	}
	return failed
}

func (v *serving) answer(r request) error {
	c := v.server.Content(Root(r.Root))
	if c == nil {
		return v.refuse(r.ID, statusUnknown)
	}
	switch r.Op {
	case opManifest:
		return v.send(response{ID: r.ID}, c.encoded)
	case opHave:
		body, all, list, seq := c.news(r.Since)
		return v.send(response{ID: r.ID, All: all, List: list, Seq: seq}, body)
	case opChunk:
		return v.chunk(c, r)
	}
	return v.refuse(r.ID, statusBad)
}

func (v *serving) refuse(id uint32, status uint8) error {
	return v.send(response{ID: id, Status: status}, nil)
}

// chunk sends one chunk. Paths and reasons of the file system stay here; the peer learns only the status.
func (v *serving) chunk(c *Content, r request) error {
	if need := headRoom + c.manifest.ChunkSize; len(v.buf) < need {
		v.buf = make([]byte, need)
	}
	data, proof, err := c.readChunk(v.buf[headRoom:], int(r.Chunk))
	switch {
	case errors.Is(err, errMissing):
		return v.refuse(r.ID, statusMissing)
	case errors.Is(err, errChanged):
		v.server.changed.Add(1)
		return v.refuse(r.ID, statusChanged)
	case err != nil:
		v.server.failed.Add(1)
		return v.refuse(r.ID, statusFailed)
	}
	head := response{ID: r.ID, Body: uint32(len(data)), Proof: appendCVs(nil, proof.siblings)}
	if len(proof.groups) > 1 {
		head.Groups = appendCVs(nil, proof.groups)
	}
	frame := appendFrame(nil, head)
	start := headRoom - len(frame)
	copy(v.buf[start:], frame)
	if err := v.write(v.buf[start : headRoom+len(data)]); err != nil {
		return err
	}
	v.server.chunks.Add(1)
	v.server.bytes.Add(int64(len(data)))
	return nil
}

func (v *serving) send(head response, body []byte) error {
	head.Body = uint32(len(body))
	if err := v.write(appendFrame(nil, head)); err != nil {
		return err
	}
	return v.write(body)
}

// write sends b in pieces, so that a slow but living peer is not taken for a dead one.
func (v *serving) write(b []byte) error {
	const piece = 64 << 10
	for len(b) > 0 {
		if err := v.touch(); err != nil {
			return err
		}
		n, err := v.stream.Write(b[:min(piece, len(b))])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
