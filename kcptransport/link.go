package kcptransport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Link is the secure association with one peer, whatever paths its packets take. There is at most one to a peer at a
// time. All methods may be called from any goroutine.
type Link struct {
	ep        *Endpoint
	peer      PeerID
	local     linkID // what the peer knows this link by
	mux       *mux
	inbox     *inbox[linkMessage]
	datagrams datagramQueues
	watchers  pathWatchers
	hop       hop
	done      chan struct{} // closed when the run loop has ended

	remote  remoteID  // used by the endpoint's handshaker only
	created time.Time // likewise

	mu   sync.Mutex // guards view and err
	view linkView
	err  error
}

// linkView is what the run loop shows to everybody else.
type linkView struct {
	paths      []PathInfo // replaced, never changed; the one in use is first
	changed    chan struct{}
	stats      LinkStats
	candidates []Candidate
	hint       []byte
	signalRTT  time.Duration
	initiator  bool
	known      bool // a handshake was done
	lost       bool // no path is in use, though one was
}

// learn shows what a handshake told, so that it is there when Dial or Accept return the link.
func (l *Link) learn(m sessionMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.candidates, l.view.hint = m.est.hello.Candidates, m.est.hello.Hint
	if !l.view.known {
		l.view.known, l.view.initiator = true, m.est.initiator
	}
	if m.signal != nil && m.est.initiator {
		l.view.signalRTT = max(m.rtt, 1)
	}
}

// newLink prepares a link whose run loop starts with run. seed makes its tokens.
func newLink(ep *Endpoint, peer PeerID, local linkID, remote remoteID, random io.Reader, now time.Time) (*Link, *linkLoop, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, nil, fmt.Errorf("kcptransport: link to %s: reading random bytes: %w", peer.Short(), err)
	}
	l := &Link{
		ep: ep, peer: peer, local: local, remote: remote, created: now,
		inbox: newInbox[linkMessage](&ep.queued, maxQueuedPackets),
		hop:   hop{peer: peer},
		done:  make(chan struct{}),
		view:  linkView{changed: make(chan struct{})},
	}
	l.datagrams.init(l.inbox.poke)
	l.mux = newMux(muxConfig{
		local: linkAddr(ep.ID()), remote: linkAddr(peer), peer: peer,
		even:       ep.ID().Compare(peer) < 0,
		maxPayload: ep.cfg.maxFrames() - sizedFrameHeader,
		maxStreams: ep.cfg.MaxStreams,
		memory:     &ep.memory,
		wake:       l.inbox.poke,
		now:        now,
	})
	random8 := rand.NewChaCha8(seed)
	token := func() uint64 {
		var b [8]byte
		_, _ = random8.Read(b[:]) // never fails
		return binary.BigEndian.Uint64(b[:])
	}
	return l, newLinkLoop(l, token, now), nil
}

// linkAddr is the net.Addr of a peer's end of a stream.
type linkAddr PeerID

// Network returns "xppg".
func (linkAddr) Network() string { return "xppg" }

func (a linkAddr) String() string { return PeerID(a).String() }

// Peer returns who is at the other end; the handshake has proven that it holds the key.
func (l *Link) Peer() PeerID { return l.peer }

// Initiator reports whether this side began the handshake whose keys are in use. The two sides say the opposite of
// each other, except for a moment when both dialled at once.
func (l *Link) Initiator() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.initiator
}

// OpenStream opens a stream of the given kind, at most 64 bytes. It does not wait for the peer: what is written to
// the stream travels with its opening, and an error of the peer shows when the stream is read. While the link has no
// path, streams hold back what they are given.
func (l *Link) OpenStream(ctx context.Context, kind string) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("kcptransport: opening a stream to %s: %w", l.peer.Short(), err)
	}
	return l.mux.open(kind)
}

// AcceptStream waits for a stream that the peer opened.
func (l *Link) AcceptStream(ctx context.Context) (*Stream, error) { return l.mux.accept(ctx) }

// Probe sends one probe on p, to find out whether p leads to the peer. If the peer answers, p enters the table of
// paths and may be put to use. ttl, when not 0, is the packet's time to live in hops, for a packet that is to open a
// mapping in our own NAT and to get no further; sockets that know no such thing send nothing then. It does nothing
// on relayed paths: see [Circuit.Open].
func (l *Link) Probe(p Path, ttl int) {
	if p.IsValid() && p.Direct() {
		l.inbox.offer(probeMessage{path: p, ttl: ttl})
	}
}

// Quiet keeps the link from sending on any path for d, at most a minute, or until it hears the peer on one, a circuit is
// opened, the two meet again by way of an introducer ([Config.OnMet]), or our network changes. The peer is not asked for a sign of life
// meanwhile. Some routers keep a mapping that is in the way for as long as packets come: when hole punching has failed,
// silence on both sides is what helps.
func (l *Link) Quiet(d time.Duration) { l.inbox.put(quietMessage{min(d, maxQuiet)}) }

const maxQuiet = time.Minute

// Path returns the path in use, false while there is none.
func (l *Link) Path() (PathInfo, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.inUse()
}

// needsMeeting reports whether the two sides should tell each other anew where they are: the path in use fails and there is
// none that works, or it has ended, or there are only relayed ones.
func (l *Link) needsMeeting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, ok := l.view.inUse()
	return l.view.lost || ok && (info.State == PathSuspect || !info.Path.Direct())
}

func (v *linkView) inUse() (PathInfo, bool) {
	if len(v.paths) == 0 || !v.paths[0].InUse {
		return PathInfo{}, false
	}
	return v.paths[0], true
}

// Paths returns all paths of the link, the one in use first.
func (l *Link) Paths() []PathInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.view.paths)
}

// WaitPath waits until there is a path in use and returns it.
func (l *Link) WaitPath(ctx context.Context) (PathInfo, error) {
	for {
		l.mu.Lock()
		info, ok := l.view.inUse()
		changed, err := l.view.changed, l.err
		l.mu.Unlock()
		switch {
		case err != nil:
			return PathInfo{}, err
		case ok:
			return info, nil
		}
		select {
		case <-changed:
		case <-l.done:
		case <-ctx.Done():
			return PathInfo{}, fmt.Errorf("kcptransport: no path to %s: %w", l.peer.Short(), ctx.Err())
		}
	}
}

// OnPath has f called at every change of the path in use, and first with the one in use now if there is one, one call
// after the other, on a goroutine of their own, until stop is called or the link ends. f may call any method of the link; the
// endpoint's Close waits for it.
func (l *Link) OnPath(f func(PathInfo)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.watchers.add(f)
	if info, ok := l.view.inUse(); ok && l.err == nil {
		l.watchers.tell(l.ep, w, info)
	}
	return func() { l.watchers.remove(w) }
}

// RemoteCandidates returns the addresses that the peer told in the handshake.
func (l *Link) RemoteCandidates() []Candidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.view.candidates)
}

// RemoteHint returns what the peer's Config.Hint said in the latest handshake, at most 64 bytes, nil for nothing.
func (l *Link) RemoteHint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.view.hint)
}

// ObservedAddr returns our own address as the peer sees it on the path in use; it is invalid when not known.
func (l *Link) ObservedAddr() netip.AddrPort {
	info, _ := l.Path()
	return info.Observed
}

// SignalRTT returns how long a packet and its answer took by way of [Dial.Signal]; 0 when no handshake went that way
// or the peer began it.
func (l *Link) SignalRTT() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.signalRTT
}

// Stats returns the counters of the link.
func (l *Link) Stats() LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.stats
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err returns why the link ended, nil while it has not: an error that wraps [ErrClosed] after Close, a [*PeerError]
// when the peer closed it, a [*GoneError] when the peer fell silent, [ErrReplaced] when it came back anew; another one when
// the socket broke, or the peer took no new keys until the old ones were used up.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close delivers what was written to streams and not acknowledged yet, for up to a second, then tells the peer that
// the link ends with code 0, and returns when it has ended. Streams fail from then on.
func (l *Link) Close() error {
	l.inbox.put(closeMessage{flush: closeFlush, limit: closeFlush + closeTell})
	<-l.done
	return nil
}

// CloseWithError ends the link at once: what streams have not delivered is lost. The peer is told code, whose meaning
// is up to the application, and the first 200 bytes of reason. It returns when the peer has confirmed, or was told
// three times.
func (l *Link) CloseWithError(code uint32, reason string) error {
	l.inbox.put(closeMessage{code: code, reason: reason, limit: closeTell})
	<-l.done
	return nil
}
