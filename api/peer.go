package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

// A stream is what this package needs of a *kcptransport.Stream.
type stream interface {
	net.Conn
	CloseWrite() error
	Reset(code uint32)
}

// Kinds of streams that a playground uses itself. Names below "xppg/" are reserved.
const (
	kindMessages   = "xppg/msg"
	kindPeers      = "xppg/peers"
	kindBench      = "xppg/bench"
	reservedPrefix = "xppg/"
)

// Codes with which a playground resets streams and closes links.
const (
	codeClosed      = 0 // nothing went wrong
	codeUnknownKind = 1 // no handler for streams of this kind
	codeProtocol    = 2 // the peer broke the protocol
	codeNoPath      = 3 // hole punching found no path
)

// A peer is one link of a playground and what runs over it.
type peer struct {
	pg   *Playground
	id   kcptransport.PeerID
	link *kcptransport.Link
	out  *outbox
	ctx  context.Context    // of all that runs over the link
	stop context.CancelFunc // no message of this link is taken in after it returned

	ready    chan struct{}                       // closed when a path was found
	noAnswer atomic.Pointer[punch.NoAnswerError] // why there is none, if so
	done     chan struct{}                       // closed when everything of this peer has ended
	connOnce sync.Once
	since    atomic.Pointer[time.Time] // when the path in use was taken into use

	pathWake  chan struct{} // holds one token when there is something to do for keepPaths
	moveAt    time.Time     // when circuits whose relay is about to end are closed; of keepPaths
	surplusAt time.Time     // when circuits that are too many are closed; of keepPaths
	movedAt   atomic.Bool   // our network has changed since keepPaths last looked
	troubled  atomic.Bool   // it has fallen silent since keepPaths last looked

	mending     atomic.Bool  // punching anew: see mend
	mends       atomic.Int32 // begun
	mendsFailed atomic.Int32 // the last ones

	gossipWake chan struct{} // holds one token when there may be more to tell or ask
	newsMu     sync.Mutex
	news       tidings
	lookAt     time.Time   // when lookTimer has tellPeers woken; zero: it does not
	lookTimer  *time.Timer // nil when there is none

	pingMu sync.Mutex
	pings  map[uint64]chan struct{}

	dialBackLimit *rate.Limiter // of packets that it has us send
}

func newPeer(pg *Playground, link *kcptransport.Link) *peer {
	p := &peer{
		pg: pg, id: link.Peer(), link: link,
		ready: make(chan struct{}), done: make(chan struct{}),
		gossipWake: make(chan struct{}, 1),
		pathWake:   make(chan struct{}, 1),
		news:       newTidings(),
		pings:      map[uint64]chan struct{}{},

		dialBackLimit: newPeerDialBackLimit(),
	}
	p.ctx, p.stop = context.WithCancel(pg.ctx)
	p.out = newOutbox(p.id, func(ctx context.Context) (stream, error) { return p.open(ctx, kindMessages) })
	return p
}

// run is the peer's life. It returns when the link is gone and every goroutine
// of the peer has ended.
func (p *peer) run() {
	ctx := p.ctx
	var wg sync.WaitGroup
	wg.Go(func() { p.acceptStreams(ctx, &wg) })
	wg.Go(func() { p.answerPings(ctx) })
	wg.Go(func() {
		p.out.run(ctx, p.link.Err)
		if ctx.Err() == nil { // else we leave, which is no fault of the peer
			p.link.CloseWithError(codeProtocol, "message stream ended")
		}
	})
	wg.Go(func() { p.connect(ctx, &wg) })
	select {
	case <-p.link.Done():
	case <-ctx.Done():
		p.link.Close()
	}
	p.stop()
	wg.Wait()
	close(p.done)
}

// connect finds a path, tells the application and starts what needs one.
func (p *peer) connect(ctx context.Context, wg *sync.WaitGroup) {
	if info, ok := p.link.Path(); !ok || !info.Path.Direct() {
		wg.Go(func() { p.firstPunch(ctx) })
	}
	info, err := p.link.WaitPath(ctx)
	if err != nil {
		return
	}
	p.pg.connected(p, info)
	close(p.ready)
	wg.Go(func() { p.tellPeers(ctx) })
	wg.Go(func() { p.keepPaths(ctx) })
}

// firstPunch punches at the time when the other side does, which is now. If nothing comes of it, the link lives on by way of
// relays, or ends; one that has just lost its circuit is looked after by others.
func (p *peer) firstPunch(ctx context.Context) {
	err := p.pg.punch(ctx, p.link, 0)
	if err == nil || p.relayed() || p.isReady() {
		return
	}
	p.pg.note(p.id, err)
	if why := (*punch.NoAnswerError)(nil); errors.As(err, &why) {
		p.noAnswer.Store(why)
	}
	p.link.CloseWithError(codeNoPath, "hole punching found no path")
}

func (p *peer) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// waitReady waits until there is a path, or the link ends.
func (p *peer) waitReady(ctx context.Context) {
	select {
	case <-p.ready:
	case <-ctx.Done():
	}
}

func (p *peer) acceptStreams(ctx context.Context, wg *sync.WaitGroup) {
	for {
		s, err := p.link.AcceptStream(ctx)
		if err != nil {
			return
		}
		wg.Go(func() { p.serve(ctx, s) })
	}
}

// serve runs the server of one stream that the peer opened.
func (p *peer) serve(ctx context.Context, s *kcptransport.Stream) {
	s.SetPriority(priorityOf(s.Kind()))
	stop := context.AfterFunc(ctx, func() { s.Reset(codeClosed) })
	defer stop()
	defer func() { _ = s.Close() }()
	var err error
	switch kind := s.Kind(); kind {
	case kindMessages:
		err = p.readMessages(ctx, s)
	case kindPeers:
		err = p.readPeers(s)
	default:
		err = p.pg.serveStream(ctx, p, s)
	}
	if errors.Is(err, errProtocol) {
		p.pg.note(p.id, err)
		p.link.CloseWithError(codeProtocol, "protocol error")
	}
}

// errProtocol is wrapped by errors that end the link.
var errProtocol = errors.New("the peer broke the protocol")

// readMessages takes in what the peer sends until the stream ends.
func (p *peer) readMessages(ctx context.Context, s stream) error {
	var wmu sync.Mutex
	answer := func(e *envelope) error {
		wmu.Lock()
		defer wmu.Unlock()
		return writeFrame(s, e)
	}
	for last := uint64(0); ; {
		e := new(envelope)
		if err := readFrame(s, maxFrame, e); err != nil {
			return err
		}
		if err := e.valid(); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		if e.Type > typeBroadcast || e.Seq <= last {
			return fmt.Errorf("%w: envelope of type %d, number %d after %d", errProtocol, e.Type, e.Seq, last)
		}
		last = e.Seq
		if err := p.take(ctx, e, answer); err != nil {
			return err
		}
	}
}

func (p *peer) take(ctx context.Context, e *envelope, answer func(*envelope) error) error {
	seq := e.Seq
	switch e.Type {
	case typeBroadcast:
		if err := p.pg.takeBroadcast(ctx, p, e); err != nil {
			return err
		}
	case typeRequest:
		m := &Message{From: p.id, Kind: e.Kind, payload: e.Payload}
		m.reply = func(r *envelope) error {
			r.Seq = seq
			return answer(r)
		}
		if strings.HasPrefix(e.Kind, reservedPrefix) {
			return p.pg.takeInternal(m)
		}
		return p.pg.inbox.push(ctx, m)
	default:
		if err := p.pg.inbox.push(ctx, &Message{From: p.id, Kind: e.Kind, payload: e.Payload}); err != nil {
			return err
		}
	}
	return answer(&envelope{Type: typeAck, Seq: seq})
}

// A ping is a datagram of a type byte and a token; the answer has the next type.
const (
	datagramPing = 1
	datagramPong = 2
	pingLen      = 9
)

func (p *peer) answerPings(ctx context.Context) {
	for {
		b, err := p.link.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		if len(b) != pingLen {
			continue
		}
		switch b[0] {
		case datagramPing:
			reply := append([]byte{datagramPong}, b[1:]...)
			_ = p.link.SendDatagram(reply) // a lost pong is a lost pong
		case datagramPong:
			p.pong(binary.BigEndian.Uint64(b[1:]))
		}
	}
}

func (p *peer) pong(token uint64) {
	p.pingMu.Lock()
	defer p.pingMu.Unlock()
	if c := p.pings[token]; c != nil {
		close(c)
		delete(p.pings, token)
	}
}

// ping sends one datagram and waits for its echo.
func (p *peer) ping(ctx context.Context, token uint64) (time.Duration, error) {
	c := make(chan struct{})
	p.pingMu.Lock()
	p.pings[token] = c
	p.pingMu.Unlock()
	defer func() {
		p.pingMu.Lock()
		delete(p.pings, token)
		p.pingMu.Unlock()
	}()
	start := time.Now()
	if err := p.link.SendDatagram(binary.BigEndian.AppendUint64([]byte{datagramPing}, token)); err != nil {
		return 0, err
	}
	select {
	case <-c:
		return time.Since(start), nil
	case <-p.link.Done():
		return 0, p.link.Err()
	case <-ctx.Done():
		return 0, fmt.Errorf("api: no pong from %s: %w", p.id.Short(), ctx.Err())
	}
}
