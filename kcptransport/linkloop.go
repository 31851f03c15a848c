package kcptransport

import (
	"net/netip"
	"slices"
	"time"
)

// Limits and times of a run loop.
const (
	maxSessions     = 3
	maxTurnPackets  = 4 * outBatchLen // sent before arrivals are looked at again
	maxTurnAnswers  = 64
	signalRetry     = time.Second // between two confirming probes by way of an introducer
	maxSignalProbes = 5
)

// session is one set of keys of a link. It lives from its handshake to the end of the link, or until newer ones push
// it out.
type session struct {
	localIndex, remoteIndex uint32
	keys                    *sessionKeys
	next                    uint64 // packet number to use next
	initiator               bool   // this side began
	heard                   bool   // a packet of the peer opened under these keys
	finish                  []byte // XX3, until heard
	finishAt                time.Time
}

// linkLoop is the part of a link that belongs to its run loop.
type linkLoop struct {
	link     *Link
	ep       *Endpoint
	mux      *mux
	sessions []*session // oldest first
	paths    *pathTable
	answers  []pathAnswer // to be sent in this turn
	stats    LinkStats
	changes  uint64 // of the path in use, that others were told of
	closing  *closing
	ended    error    // why the loop ends after this turn
	ready    []func() // to be called after this turn

	signal       Signal // nil once there is a path
	signalRTT    time.Duration
	signalAt     time.Time // of the next confirming probe; zero: none
	signalProbes int
	candidates   []Candidate
}

// pathAnswer is the answer to a probe.
type pathAnswer struct {
	path     Path
	token    uint64
	observed netip.AddrPort
}

func newLinkLoop(l *Link, token func() uint64, now time.Time) *linkLoop {
	l.mux.blocked(true)
	keepAlive := l.ep.cfg.KeepAlive
	if l.ep.ID().Compare(l.peer) < 0 {
		keepAlive -= keepAlive / 16 // one side asks first, and with its answer the other one has nothing to ask
	}
	return &linkLoop{
		link: l, ep: l.ep, mux: l.mux,
		paths: newPathTable(now, keepAlive, token),
	}
}

// run is the link's goroutine. It sleeps until it is woken or something is due.
func (k *linkLoop) run() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	var spare []linkMessage
	var deadline time.Time
	for k.ended == nil {
		select {
		case <-k.link.inbox.wake:
		case <-timer.C:
			deadline = time.Time{}
		}
		k.ep.settle()
		packets, messages, dropped := k.link.inbox.take(spare)
		k.stats.QueueDropped += dropped
		k.turn(time.Now(), &packets, messages)
		spare = messages
		if next := k.next(); !next.Equal(deadline) {
			deadline = next
			if next.IsZero() {
				timer.Stop()
			} else {
				timer.Reset(time.Until(next))
			}
		}
	}
	k.finish()
}

// turn handles what has come and what is due, and sends what results.
func (k *linkLoop) turn(now time.Time, packets *packetList, messages []linkMessage) {
	out := outBatches.Get().(*outBatch)
	for _, m := range messages {
		k.handle(now, m, out)
	}
	got := packets.n > 0
	for p := packets.pop(); p != nil; p = packets.pop() {
		if k.ended == nil {
			k.receive(now, p, out)
		}
		p.release()
	}
	if k.ended == nil {
		if got {
			k.mux.endBatch(now)
			k.ep.settle() // what the application does with it leaves with the acknowledgement, or after it
		}
		k.checkPeer(now)
	}
	if k.ended == nil {
		k.proceed(now, out)
	}
	out.flush(k.ep.cfg.Conn)
	outBatches.Put(out)
	k.publish()
	for _, f := range k.ready {
		f()
	}
	k.ready = nil
}

// proceed does what is due and sends everything that may leave now.
func (k *linkLoop) proceed(now time.Time, out *outBatch) {
	probes := k.paths.step(now)
	k.followPath(now)
	w := packetWriter{k: k, now: now, out: out, session: k.sendSession()}
	if w.session == nil {
		return
	}
	w.finishHandshakes()
	w.control(probes)
	w.bySignal()
	k.closeStep(now, &w)
	if k.closing == nil || !k.closing.told() {
		k.mux.advance(now)
		w.data()
	}
}

// followPath takes the consequences of a change of the path in use.
func (k *linkLoop) followPath(now time.Time) {
	if k.paths.changes == k.changes {
		return
	}
	k.changes = k.paths.changes
	k.signal, k.signalAt = nil, time.Time{}
	k.mux.pathChanged(now)
	k.mux.blocked(false)
}

// sendSession returns the session to seal with. When both sides dialled at once there are two, and both choose the
// one that the lower PeerID began, as soon as they know that the other has it.
func (k *linkLoop) sendSession() *session {
	var best *session
	for _, s := range k.sessions {
		if best == nil || k.rank(s) >= k.rank(best) { // of equals, the newest
			best = s
		}
	}
	return best
}

func (k *linkLoop) rank(s *session) int {
	lower := k.ep.ID().Compare(k.link.peer) < 0
	switch {
	case !s.heard:
		return 0
	case s.initiator == lower:
		return 2
	}
	return 1
}

// handle acts on a message.
func (k *linkLoop) handle(now time.Time, m linkMessage, out *outBatch) {
	switch m := m.(type) {
	case sessionMessage:
		k.attach(now, m)
	case readyMessage:
		k.ready = append(k.ready, m.ready)
	case probeMessage:
		k.probe(now, m, out)
	case signalMessage:
		if k.paths.inUse == nil {
			k.signal = m.signal
		}
	case closeMessage:
		k.beginClose(now, m)
	case abortMessage:
		k.end(m.err)
	}
}

// attach takes the keys of a new session into use.
func (k *linkLoop) attach(now time.Time, m sessionMessage) {
	s := &session{
		localIndex: m.localIndex, remoteIndex: m.est.remoteIndex, keys: m.est.keys,
		initiator: m.est.initiator, heard: !m.est.initiator, finish: m.finish,
	}
	if len(k.sessions) == maxSessions {
		k.ep.table.dropIndex(k.sessions[0].localIndex)
		k.sessions = slices.Delete(k.sessions, 0, 1)
	}
	k.sessions = append(k.sessions, s)
	k.candidates = m.est.hello.Candidates
	k.paths.heardAt = now
	if m.ready != nil {
		k.ready = append(k.ready, m.ready)
	}
	if m.from.IsValid() {
		k.paths.handshaken(now, Path{Addr: m.from}, m.rtt, m.est.hello.Observed)
	} else if k.paths.inUse == nil {
		k.signal = m.signal
		if m.est.initiator {
			k.signalRTT, k.signalAt, k.signalProbes = max(m.rtt, 1), now, 0
		}
	}
	k.paths.dirty = true
}

// probe sends a probe that somebody asked for.
func (k *linkLoop) probe(now time.Time, m probeMessage, out *outBatch) {
	s := k.sendSession()
	if s == nil {
		return
	}
	o := k.paths.probe(now, m.path, m.ttl)
	w := packetWriter{k: k, now: now, out: out, session: s}
	if m.ttl == 0 {
		w.control([]outProbe{o})
		return
	}
	if conn, ok := k.ep.cfg.Conn.(ttlWriter); ok {
		frames := appendProbe(w.begin(), o.token)
		b := s.seal(out.space(), frames)
		_ = conn.WriteTTL(b, m.path.Addr, m.ttl) // such a packet is meant to get lost
		k.stats.PacketsSent++
		k.stats.BytesSent += uint64(len(b))
	}
}

// seal makes the next data packet out of frames, which lie where space returned, behind the header.
func (s *session) seal(dst, frames []byte) []byte {
	b := s.keys.seal(dst[:0], s.remoteIndex, s.next, frames)
	s.next++
	return b
}

// receive handles a packet: it is decrypted where it lies.
func (k *linkLoop) receive(now time.Time, p *inPacket, out *outBatch) {
	packet := p.bytes()
	index, ok := receiverIndex(packet)
	i := slices.IndexFunc(k.sessions, func(s *session) bool { return s.localIndex == index })
	if !ok || i < 0 {
		k.stats.PacketsRefused++
		return
	}
	s := k.sessions[i]
	_, plaintext, err := s.keys.open(packet[dataHeaderSize:dataHeaderSize], packet)
	if err != nil {
		k.stats.PacketsRefused++
		return
	}
	frames, err := parseFrames(plaintext)
	if err != nil {
		k.stats.PacketsRefused++
		return
	}
	k.stats.PacketsReceived++
	k.stats.BytesReceived += uint64(len(packet))
	if !s.heard {
		s.heard, s.finish, s.finishAt = true, nil, time.Time{}
		k.paths.dirty = true // Initiator may have changed
	}
	path := Path{Addr: p.from}
	if p.signal != nil {
		path = Path{}
		k.signalAt = time.Time{}
		if k.paths.inUse == nil {
			k.signal = p.signal
		}
	}
	burst := false
	for f, ok := frames.next(); ok; f, ok = frames.next() {
		burst = k.frame(now, f, path, out) || burst
	}
	k.paths.heard(now, path, burst)
}

// frame acts on one frame and reports whether it belongs to a burst: it carries something new for the application.
func (k *linkLoop) frame(now time.Time, f frame, path Path, out *outBatch) bool {
	switch f.kind {
	case frameProbe:
		if len(k.answers) < maxTurnAnswers {
			k.answers = append(k.answers, pathAnswer{path: path, token: f.token, observed: path.Addr})
		}
		k.paths.peerProbed(path)
	case frameAnswer:
		k.paths.answered(now, path, f.token, f.observed)
	case frameKCP:
		burst := carriesData(f.data)
		if err := k.mux.input(now, f.data); err != nil {
			k.stats.PacketsRefused++
		}
		return burst
	case frameDatagram:
		k.link.datagrams.received(f.data)
		return true
	case frameClose:
		k.peerClosed(now, f, path, out)
	case frameStreamGone:
		k.mux.gone(f.conv)
	}
	return false
}

// checkPeer ends the link when the peer is gone.
func (k *linkLoop) checkPeer(now time.Time) {
	if at, since := k.deadAt(); !at.IsZero() && !now.Before(at) {
		k.end(&GoneError{Peer: k.link.peer, After: now.Sub(since)})
	}
}

// deadAt returns when the peer counts as gone if it stays silent, and since when it is; the zero time when it has
// nothing to say.
func (k *linkLoop) deadAt() (at, since time.Time) {
	if k.paths.inUse == nil { // nobody can be asked, so a path must be found within that time
		return k.paths.heardAt.Add(k.ep.cfg.DeadAfter), k.paths.heardAt
	}
	return k.paths.deadAt(k.ep.cfg.DeadAfter), k.paths.askedAt
}

// next returns when the loop has something to do without being woken; the zero time means never.
func (k *linkLoop) next() time.Time {
	dead, _ := k.deadAt()
	at := earlier(earlier(k.paths.next(), k.signalAt), dead)
	for _, s := range k.sessions {
		at = earlier(at, s.finishAt)
	}
	if k.closing != nil {
		at = earlier(at, k.closing.next)
	}
	if k.closing == nil || !k.closing.told() {
		at = earlier(at, k.mux.next())
	}
	return at
}

// end makes this turn the last one.
func (k *linkLoop) end(err error) {
	if k.ended == nil {
		k.ended = err
	}
}

// finish gives back what the link holds, and tells everybody who waits.
func (k *linkLoop) finish() {
	k.ep.table.removeLink(k.link)
	messages := k.link.inbox.close()
	for _, m := range messages {
		switch m := m.(type) {
		case sessionMessage:
			k.ep.table.dropIndex(m.localIndex)
			if m.ready != nil {
				k.ready = append(k.ready, m.ready)
			}
		case readyMessage:
			k.ready = append(k.ready, m.ready)
		}
	}
	for _, s := range k.sessions {
		k.ep.table.dropIndex(s.localIndex)
	}
	k.mux.close(k.ended)
	k.link.datagrams.close(k.ended)
	k.link.mu.Lock()
	k.link.err = k.ended
	k.link.mu.Unlock()
	close(k.link.done)
	for _, f := range k.ready {
		f()
	}
}

// publish shows the outcome of a turn.
func (k *linkLoop) publish() {
	m := k.mux.stats()
	k.stats.DatagramsDropped = k.link.datagrams.dropped.Load()
	k.stats.Streams, k.stats.PacketsLost, k.stats.Loss = m.Streams, m.Lost, m.Loss
	if k.stats.RTT = m.SRTT; k.stats.RTT == 0 {
		k.stats.RTT = k.paths.rtt()
	}
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := k.stats.PathChanges != k.paths.changes
	k.stats.PathChanges = k.paths.changes
	l.view.stats = k.stats
	if !k.paths.dirty {
		return
	}
	k.paths.dirty = false
	l.view.paths = k.paths.infos()
	l.view.candidates, l.view.signalRTT = k.candidates, k.signalRTT
	if s := k.sendSession(); s != nil {
		l.view.initiator = s.initiator
	}
	if info, ok := l.view.inUse(); ok && changed {
		close(l.view.changed)
		l.view.changed = make(chan struct{})
		l.watchers.tellAll(l.ep, info)
	}
}
