package chunks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// maxAsked is how many requests may be under way on one stream.
const maxAsked = 256

// ask is a request together with what its answer is checked against.
type ask struct {
	request
	job *job // for opChunk and opHave
}

// event is what a conn tells the fetcher; it is one of the types below.
type event interface{ from() *conn }

type (
	connected   struct{ *conn }
	gotManifest struct {
		*conn
		bytes []byte
	}
	gotHave struct {
		*conn
		have  bitmap   // nil: everything
		news  []uint32 // when list is set, in place of have
		list  bool
		seq   uint32
		trace ask
	}
	gotChunk struct {
		*conn
		chunk    int
		leaf     cv
		siblings []cv
	}
	gotRefusal struct {
		*conn
		ask ask
		err *statusError
	}
	cannotWrite struct { // the trouble is here and not with the source
		*conn
		err error
	}
	disconnected struct {
		*conn
		err error
		bad bool // it sent what is not the content, or broke the protocol
	}
)

// conn is a stream to one source: a goroutine that sends requests and one that reads, verifies and stores what comes.
type conn struct {
	peer     kcptransport.PeerID
	root     Root
	opener   Opener
	stall    time.Duration
	out      chan ask // has room for maxAsked, so that the fetcher never waits
	events   chan<- event
	received *atomic.Int64 // useful bytes, of all conns

	stream Stream
	buf    []byte // the reader's chunk

	mu      sync.Mutex
	pending map[uint32]ask
}

func (c *conn) from() *conn { return c }

// errBad is wrapped when a source sent something that the content is not.
var errBad = errors.New("bad data")

// run owns both goroutines. It returns when the stream has ended and everything was told.
func (c *conn) run(ctx context.Context) {
	err := c.talk(ctx)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it sent nothing for %v: %w", c.stall, err)
	}
	bad := errors.Is(err, errBad) || errors.Is(err, errWire)
	c.tell(ctx, disconnected{c, err, bad})
}

func (c *conn) talk(ctx context.Context) error {
	opening, opened := context.WithTimeout(ctx, c.stall)
	stream, err := c.opener.OpenStream(opening, c.peer, StreamKind)
	opened()
	if err != nil {
		return err
	}
	c.stream = stream
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	var wg sync.WaitGroup
	defer func() {
		cancel()
		stop()
		stream.Close()
		wg.Wait()
	}()
	wg.Go(func() {
		if err := c.sendAll(ctx); err != nil {
			stream.Close() // the reader tells
		}
	})
	c.tell(ctx, connected{c})
	return c.readAll(ctx)
}

// tell hands an event over, unless the fetch is over.
func (c *conn) tell(ctx context.Context, e event) {
	select {
	case c.events <- e:
	case <-ctx.Done():
	}
}

// sendAll writes requests, those that wait together in one Write.
func (c *conn) sendAll(ctx context.Context) error {
	var buf []byte
	for {
		buf = buf[:0]
		select {
		case a := <-c.out:
			buf = appendFrame(buf, c.expect(a))
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(buf) < 8<<10; {
			select {
			case a := <-c.out:
				buf = appendFrame(buf, c.expect(a))
			default:
				more = false
			}
		}
		if _, err := c.stream.Write(buf); err != nil {
			return err
		}
	}
}

// expect notes a request that is about to be sent. From the first one on, the source has a deadline.
func (c *conn) expect(a ask) request {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[a.ID] = a
	if len(c.pending) == 1 {
		c.stream.SetDeadline(time.Now().Add(c.stall)) //nolint:errcheck // the stream's end shows when reading
	}
	return a.request
}

// touch gives the source its time again, because something useful came; none when nothing more is expected.
func (c *conn) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var t time.Time
	if len(c.pending) > 0 {
		t = time.Now().Add(c.stall)
	}
	c.stream.SetDeadline(t) //nolint:errcheck // the stream's end shows when reading
}

// progress notes n useful bytes.
func (c *conn) progress(n int) {
	c.received.Add(int64(n))
	c.touch()
}

func (c *conn) settle(id uint32) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
	c.touch()
}

func (c *conn) readAll(ctx context.Context) error {
	buf := make([]byte, maxResponse)
	for {
		var r response
		if err := readFrame(c.stream, buf, &r); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("it closed the stream")
			}
			return err
		}
		c.mu.Lock()
		a, ok := c.pending[r.ID]
		c.mu.Unlock()
		if !ok {
			return fmt.Errorf("%w: an answer to no question", errWire)
		}
		e, err := c.answer(a, r)
		if err != nil {
			return err
		}
		c.settle(r.ID)
		c.tell(ctx, e)
	}
}

func (c *conn) answer(a ask, r response) (event, error) {
	if r.Status != statusOK {
		if r.Body != 0 {
			return nil, fmt.Errorf("%w: a refusal with content", errWire)
		}
		return gotRefusal{c, a, &statusError{r.Status, r.Error}}, nil
	}
	switch a.Op {
	case opManifest:
		return c.manifest(r)
	case opHave:
		return c.have(a, r)
	}
	return c.chunk(a, r)
}

func (c *conn) manifest(r response) (event, error) {
	if r.Body == 0 || r.Body > MaxManifest {
		return nil, fmt.Errorf("%w: a manifest of %d bytes", errWire, r.Body)
	}
	b, err := readBody(c.stream, int(r.Body), c.progress)
	if err != nil {
		return nil, err
	}
	if rootOf(b) != c.root {
		return nil, fmt.Errorf("%w: the manifest is not the one asked for", errBad)
	}
	return gotManifest{c, b}, nil
}

func (c *conn) have(a ask, r response) (event, error) {
	n := a.job.content.lay.chunks()
	got := gotHave{conn: c, seq: r.Seq, trace: a, list: r.List}
	switch {
	case r.All && r.Body == 0:
		return got, nil
	case int(r.Body) > max((n+7)/8, 4):
		return nil, fmt.Errorf("%w: %d bytes about %d chunks", errWire, r.Body, n)
	}
	b, err := readBody(c.stream, int(r.Body), c.progress)
	if err != nil {
		return nil, err
	}
	if !r.List {
		var ok bool
		if got.have, ok = bitmapFrom(b, n); !ok || r.All {
			return nil, fmt.Errorf("%w: a set of the wrong size", errWire)
		}
		return got, nil
	}
	for ; len(b) >= 4; b = b[4:] {
		chunk := binary.BigEndian.Uint32(b)
		if chunk >= uint32(n) {
			return nil, fmt.Errorf("%w: it has a chunk that does not exist", errWire)
		}
		got.news = append(got.news, chunk)
	}
	return got, nil
}

// chunk reads a chunk, verifies each 16 KiB of it as they come, and stores it.
func (c *conn) chunk(a ask, r response) (event, error) {
	content, number := a.job.content, int(a.Chunk)
	at := content.lay.place(number)
	v, err := newVerifier(content.manifest.Files[at.file].Hash, at, r)
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", number, err)
	}
	if c.buf == nil {
		c.buf = make([]byte, content.manifest.ChunkSize)
	}
	data := c.buf[:at.size]
	for offset := 0; offset < at.size; offset += groupSize {
		group := data[offset:min(offset+groupSize, at.size)]
		if _, err := io.ReadFull(c.stream, group); err != nil {
			return nil, cut(err)
		}
		if !v.group(group, offset) {
			return nil, fmt.Errorf("%w: chunk %d is not what the manifest says", errBad, number)
		}
		c.progress(len(group))
	}
	if !content.has(number) { // another source was faster otherwise
		if err := a.job.part.write(at, data); err != nil {
			return cannotWrite{c, err}, nil //nolint:nilerr // not the source's fault, so its stream goes on
		}
	}
	return gotChunk{c, number, v.leaf, v.siblings}, nil
}
