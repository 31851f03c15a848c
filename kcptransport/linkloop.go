package kcptransport

import (
	"fmt"
	"net/netip"
	"time"
)

// Limits and times of a run loop.
const (
	maxTurnPackets  = 4 * outBatchLen // sent before arrivals are looked at again
	maxTurnAnswers  = 64
	minSignalRetry  = 50 * time.Millisecond // after the first confirming probe by way of an introducer
	maxSignalRetry  = 2 * time.Second       // pauses between them double up to this
	maxSignalProbes = 7
	askFirst        = 250 * time.Millisecond // that one side asks before the other would, if both keep alive alike
	networkPause    = 500 * time.Millisecond // between two changes of our network that count
	firstTrouble    = 500 * time.Millisecond // of silence, at least, before OnTrouble is called
	troublePause    = 8 * time.Second        // between two calls, at most
	quietMeeting    = time.Second            // that Config.OnMet has to begin before the link asks by itself again
	showPause       = 100 * time.Millisecond // between two looks at the counters of paths
)

// linkLoop is the part of a link that belongs to its run loop.
type linkLoop struct {
	link     *Link
	ep       *Endpoint
	settle   func() // see settler
	mux      *mux
	sessions sessions
	rekeyed  time.Time // when new keys were last asked for
	paths    *pathTable
	circuits []*Circuit   // that are paths of this link
	answers  []pathAnswer // to be sent in this turn
	stats    LinkStats
	changes  uint64 // of the path in use, that others were told of
	lastPath Path   // in use at that time: what the streams send travels there
	older    Path   // where what they sent before their last pathChanged did
	losses   muxCounts
	shownAt  time.Time // when the counters of the paths were last shown
	closing  *closing
	ended    error    // why the loop ends after this turn
	ready    []func() // to be called after this turn

	networkAt time.Time // when to look at everything anew because our network changed; zero: it has not
	networked time.Time // when that was last done

	troubles   int       // calls of OnTrouble since the peer was heard
	troubledAt time.Time // the last one
	quietUntil time.Time // when Link.Quiet is over; zero: it was not called

	recent      recentPackets // sent lately, while there is a circuit to spare
	shownRelays time.Time     // when showRelays last did

	doubling bool      // everything is sent by a circuit as well
	resendAt time.Time // when it goes on; zero: it does not

	marked, told uint32 // packets of the peer that came with the mark of a relay, and how many of them the peer was told of
	marks        uint32 // likewise of ours, as the peer tells

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
	size     int // of the packet that the probe came in
}

func newLinkLoop(l *Link, token func() uint64, now time.Time) *linkLoop {
	l.mux.blocked(true)
	keepAlive, lower := l.ep.cfg.KeepAlive, l.ep.ID().Compare(l.peer) < 0
	if lower {
		keepAlive = askEarlier(keepAlive)
	}
	return &linkLoop{
		link: l, ep: l.ep, settle: l.ep.newSettle(), mux: l.mux,
		sessions: sessions{lower: lower},
		paths:    newPathTable(now, keepAlive, l.ep.cfg.MaxPacket-relayPrefix, token),
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
		k.settle()
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
	k.paths.ipv4, k.paths.ipv6 = k.ep.keepAlives.load(k.sessions.lower)
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
			k.settle() // what the application does with it leaves with the acknowledgement, or after it
		}
		k.checkPeer(now)
	}
	if k.ended == nil {
		k.proceed(now, out)
	}
	out.flush(k.ep.cfg.Conn)
	outBatches.Put(out)
	k.publish(now)
	for _, f := range k.ready {
		f()
	}
	k.ready = nil
}

// proceed does what is due and sends everything that may leave now.
func (k *linkLoop) proceed(now time.Time, out *outBatch) {
	k.networkStep(now)
	k.troubleStep(now)
	if k.paths.elsewhere {
		k.paths.elsewhere = false
		k.ep.showAll(now, k.link)
	}
	var probes []outProbe
	quiet := now.Before(k.quietUntil)
	if !quiet {
		k.quietUntil = time.Time{}
		probes = k.paths.step(now)
		k.followPath(now)
		k.renewKeys(now)
	}
	k.retireKeys(now)
	k.mux.blocked(quiet || k.paths.inUse == nil)
	w := packetWriter{k: k, now: now, out: out, session: k.sessions.best()}
	if w.session == nil {
		return
	}
	if w.session.exhausted() {
		k.end(fmt.Errorf("kcptransport: link to %s: its keys are used up, and the peer takes no new ones", k.link.peer.Short()))
		return
	}
	w.confirmSessions()
	w.control(probes)
	w.early()
	w.bySignal()
	k.doubleStep(&w)
	k.closeStep(now, &w)
	if k.closing == nil || !k.closing.told() {
		k.mux.advance(now)
		if !quiet {
			w.data()
		}
	}
}

// quiet begins a time in which nothing is sent on any path. Where there are circuits, nothing is sent on the direct ones that
// fail, and they are forgotten.
func (k *linkLoop) quiet(now, until time.Time) {
	if len(k.circuits) > 0 {
		k.paths.forgetFailing(now)
		return
	}
	if k.lost() {
		k.quietUntil = until
		k.paths.forgetAsking()
	}
}

// networkStep takes the consequences of a change of our own network.
func (k *linkLoop) networkStep(now time.Time) {
	if k.networkAt.IsZero() || now.Before(k.networkAt) {
		return
	}
	k.networkAt, k.networked, k.quietUntil = time.Time{}, now, time.Time{}
	k.paths.networkChanged(now)
	k.streamsMove(now, k.lastPath, false)
}

// streamsMove tells the streams that their data travels by p now, or by the same path through another network.
func (k *linkLoop) streamsMove(now time.Time, p Path, sameHost bool) {
	k.countLosses()
	k.mux.pathChanged(now, sameHost)
	k.older, k.lastPath = k.lastPath, p
}

// countLosses enters what the streams found out since it was last called under the paths that they used. It returns what
// they found out at all.
func (k *linkLoop) countLosses() muxStats {
	m := k.mux.stats()
	before := m.LostBefore - k.losses.LostBefore
	k.paths.carried(k.lastPath, m.Lost-k.losses.Lost-before, m.Rate)
	if before > 0 {
		k.paths.carried(k.older, before, 0)
	}
	k.losses = m.muxCounts
	return m
}

// troubleAt returns when a peer that is silent, or to whom the last path has ended, becomes a trouble that others should know of;
// zero: there is none.
func (k *linkLoop) troubleAt() time.Time {
	lost := !k.paths.lostAt.IsZero() && k.quietUntil.IsZero()
	if k.ep.cfg.OnTrouble == nil || !lost && (k.paths.inUse == nil || k.paths.askedAt.IsZero()) {
		return time.Time{}
	}
	first := max(firstTrouble, 4*k.paths.rtt())
	switch {
	case k.troubles > 0:
		return k.troubledAt.Add(min(first<<min(k.troubles-1, 16), troublePause))
	case lost:
		return k.paths.lostAt
	case k.networked.After(k.paths.heardAt): // then silence has a likely reason
		return k.networked.Add(k.paths.rtt()*5/4 + suspectGrace)
	}
	return k.paths.askedAt.Add(first)
}

func (k *linkLoop) troubleStep(now time.Time) {
	at := k.troubleAt()
	switch {
	case at.IsZero():
		k.troubles = 0
	case !now.Before(at):
		k.troubles, k.troubledAt = k.troubles+1, now
		k.ep.callbacks.Go(func() { k.ep.cfg.OnTrouble(k.link) })
	}
}

// showRelays has the links to the relays of our circuits tell these where we are, while our own path is in doubt: if a NAT of ours
// has forgotten us, they do not know us at our new address, and drop what comes from there.
func (k *linkLoop) showRelays(now time.Time) {
	if !k.paths.inDoubt() || now.Before(k.shownRelays.Add(doubtPause)) {
		return
	}
	k.shownRelays = now
	for _, c := range k.circuits {
		c.via.inbox.offer(showMessage{})
	}
}

// doubleStep has everything sent by a circuit, too, while an answer is missing on the path in use. What may have got lost
// there lately is sent once more, the oldest first, and not all at once.
func (k *linkLoop) doubleStep(w *packetWriter) {
	if at := k.recent.expires(); !at.IsZero() && !w.now.Before(at) {
		k.recent.clear()
	}
	k.showRelays(w.now)
	spare := k.paths.spareInDoubt()
	switch {
	case spare == nil: // the path works again, or the circuit is in use now: then the rest follows there
		k.doubling = false
		if spare = k.paths.inUse; spare == nil || spare.path.Direct() || k.paths.inDoubt() {
			k.resendAt = time.Time{}
		}
	case !k.doubling:
		k.doubling, k.resendAt = true, w.now
		since, ok := k.mux.oldestFlight()
		if !ok {
			since = k.paths.unheardSince(w.now)
		}
		k.recent.rewind(since, k.paths.rtt()*3/8)
	}
	if k.resendAt.IsZero() || w.now.Before(k.resendAt) {
		return
	}
	k.resendAt = time.Time{}
	burst := k.mux.resendBurst()
	for range 2 {
		for range burst {
			if b := k.recent.next(); b != nil {
				w.begin()
				w.push(append(w.out.space(), b...), spare.path, true)
				k.resendAt = w.now.Add(resendPause)
			}
		}
		k.recent.turn()
	}
}

// followPath takes the consequences of a change of the path in use.
func (k *linkLoop) followPath(now time.Time) {
	if k.paths.changes != k.changes {
		k.changes = k.paths.changes
		k.signal, k.signalAt = nil, time.Time{}
		path, _ := k.paths.current()
		sameHost := path.Direct() && k.lastPath.Direct() && path.Addr.Addr() == k.lastPath.Addr.Addr()
		k.streamsMove(now, path, sameHost)
	}
	k.mux.hintRTT(k.paths.rtt()) // until data has measured it
}

// retireKeys forgets old keys in time.
func (k *linkLoop) retireKeys(now time.Time) {
	if s := k.sessions.retire(now); s != nil {
		k.ep.table.dropIndex(s.localIndex)
	}
}

// renewKeys asks for new keys in time.
func (k *linkLoop) renewKeys(now time.Time) {
	if at := k.rekeyAt(now); at.IsZero() || now.Before(at) {
		return
	}
	k.rekeyed = now
	path, _ := k.paths.current()
	k.ep.shaker.inbox.put(rekeyRequest{link: k.link, addr: path.Addr, circuit: k.circuit(path)})
}

func (k *linkLoop) rekeyAt(now time.Time) time.Time {
	s := k.sessions.best()
	path, ok := k.paths.current()
	if s == nil || !ok || !path.Direct() && k.circuit(path) == nil {
		return time.Time{}
	}
	at := s.rekeyAt(now)
	if !at.IsZero() && !k.rekeyed.IsZero() {
		at = later(at, k.rekeyed.Add(rekeyPause))
	}
	return at
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
		if k.lost() {
			k.signal = m.signal
		}
	case circuitMessage:
		k.circuitChanged(now, m.circuit)
	case showMessage:
		k.paths.show(now)
	case networkMessage:
		k.networkAt = later(now, k.networked.Add(networkPause))
	case quietMessage:
		k.quiet(now, now.Add(m.d))
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
		since: now, initiator: m.est.initiator, finish: m.finish,
	}
	if s.initiator {
		s.finishAt = now
	} else {
		s.heard = now
	}
	if old := k.sessions.add(s); old != nil {
		k.ep.table.dropIndex(old.localIndex)
	}
	k.candidates = m.est.hello.Candidates
	k.paths.met(now)
	if m.ready != nil {
		k.ready = append(k.ready, m.ready)
	}
	if m.from.IsValid() {
		k.paths.handshaken(now, Path{Addr: m.from}, m.rtt, m.est.hello.Observed)
	} else {
		k.met(now, m)
	}
	for _, c := range k.ep.circuits.to(k.link.peer) {
		k.circuitChanged(now, c)
	}
	k.paths.dirty = true
}

// met takes the consequences of a handshake that went by way of an introducer.
func (k *linkLoop) met(now time.Time, m sessionMessage) {
	again, lost := k.paths.inUse != nil, !k.paths.lostAt.IsZero()
	switch {
	case again && m.relayed:
		if !k.paths.inUse.path.Direct() { // both know where the other one is now
			k.tellMet()
		}
		return
	case (again || lost) && m.signal == nil:
		return
	}
	k.signal, k.signalAt = m.signal, time.Time{}
	if m.est.initiator {
		k.signalRTT, k.signalAt, k.signalProbes = max(m.rtt, 1), now, 0
	}
	switch {
	case lost: // there is nothing to doubt
		k.tellMet()
		return
	case !again:
		return
	}
	k.paths.doubtAll(now, ReasonMoved) // the peer would not have taken that way if it reached us
	k.quietUntil = time.Time{}
	if k.ep.cfg.OnMet != nil {
		k.quiet(now, now.Add(quietMeeting))
	}
	k.tellMet()
}

// tellMet has OnMet called when the link shows what has come of it.
func (k *linkLoop) tellMet() {
	if k.ep.cfg.OnMet != nil {
		k.ready = append(k.ready, func() { k.ep.callbacks.Go(func() { k.ep.cfg.OnMet(k.link) }) })
	}
}

// lost reports whether no path works, so that an introducer is of use.
func (k *linkLoop) lost() bool { return k.paths.inUse == nil || k.paths.inDoubt() }

// probe sends a probe that somebody asked for.
func (k *linkLoop) probe(now time.Time, m probeMessage, out *outBatch) {
	s := k.sessions.best()
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
		frames := appendPadded(w.begin(), o.token)
		b := s.seal(out.space(), frames)
		_ = conn.WriteTTL(b, m.path.Addr, m.ttl) // such a packet is meant to get lost
		k.stats.PacketsSent++
		k.stats.BytesSent += uint64(len(b))
	}
}

// receive handles a packet: it is decrypted where it lies.
func (k *linkLoop) receive(now time.Time, p *inPacket, out *outBatch) {
	packet := p.bytes()
	index, _ := receiverIndex(packet)
	s := k.sessions.find(index)
	if s == nil {
		k.stats.PacketsRefused++
		return
	}
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
	s.used = now
	if s.heard.IsZero() {
		s.heard, s.finish, s.finishAt = now, nil, time.Time{}
		k.paths.dirty = true // Initiator may have changed
	}
	path := Path{Addr: p.from}
	if c := p.circuit; c != nil {
		if path = c.Path(); k.circuit(path) == nil {
			k.stats.PacketsRefused++
			return
		}
		c.hears(k.link.peer)
		if p.marked {
			k.marked++
		}
	}
	if p.signal == nil {
		k.quietUntil = time.Time{} // there is a way
	} else {
		path = Path{}
		k.signalAt = time.Time{}
		if k.lost() {
			k.signal = p.signal
		}
	}
	burst := false
	for f, ok := frames.next(); ok; f, ok = frames.next() {
		burst = k.frame(now, f, path, len(packet), out) || burst
	}
	k.paths.heard(now, path, burst, len(packet))
}

// frame acts on one frame of a packet of a size and reports whether it belongs to a burst: it carries something new for
// the application.
func (k *linkLoop) frame(now time.Time, f frame, path Path, size int, out *outBatch) bool {
	switch f.kind {
	case frameProbe:
		if len(k.answers) < maxTurnAnswers {
			observed := path.Addr
			if !path.Direct() || carried(observed.Addr()) {
				observed = netip.AddrPort{} // that is not where the peer is
			}
			k.answers = append(k.answers, pathAnswer{path: path, token: f.token, observed: observed, size: size})
		}
		k.paths.peerProbed(path)
	case frameAnswer:
		k.paths.answered(now, path, f.token, f.observed, size)
	case frameKCP:
		burst := carriesData(f.data)
		k.paths.acked = k.paths.acked || len(k.circuits) > 0 && k.mux.confirms(f.data) // otherwise it makes no difference
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
	case frameMarked:
		if f.count != k.marks {
			k.marks = f.count
			if inUse, ok := k.paths.current(); ok && !inUse.Direct() { // else they were sent before the path changed
				k.mux.marked(now)
			}
		}
	case frameDoubt:
		k.paths.notHeard(now)
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
		since = k.paths.heardAt
		if lost := k.paths.lostAt; !lost.IsZero() && lost.Before(since) { // what comes by way of an introducer is no path
			since = lost
		}
		return since.Add(k.ep.cfg.DeadAfter), since
	}
	return k.paths.deadAt(k.ep.cfg.DeadAfter), k.paths.askedAt
}

// next returns when the loop has something to do without being woken; the zero time means never.
func (k *linkLoop) next() time.Time {
	dead, _ := k.deadAt()
	at := earlier(earlier(k.signalAt, k.sessions.next()), earlier(k.networkAt, dead))
	at = earlier(at, earlier(k.resendAt, k.recent.expires()))
	if k.closing != nil {
		at = earlier(at, k.closing.next)
	}
	if !k.quietUntil.IsZero() {
		return earlier(at, k.quietUntil)
	}
	at = earlier(earlier(at, k.paths.next()), earlier(k.rekeyAt(k.paths.heardAt), k.troubleAt()))
	// While the path is about to change, what waits waits for that, unless it may go ahead (packetWriter.early).
	waits := !k.doubling && (k.paths.leaving() || k.paths.moving() && k.paths.newcomer() == nil)
	if (k.closing == nil || !k.closing.told()) && !waits {
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
	for _, s := range k.sessions.list {
		k.ep.table.dropIndex(s.localIndex)
	}
	k.mux.close(k.ended)
	k.recent.clear()
	k.link.hop.view.Store(nil)
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
func (k *linkLoop) publish(now time.Time) {
	if now.Sub(k.shownAt) >= showPause {
		k.shownAt, k.paths.dirty = now, true
	}
	m := k.countLosses()
	k.stats.DatagramsDropped = k.link.datagrams.dropped.Load()
	k.stats.Streams, k.stats.PacketsLost, k.stats.Loss, k.stats.DeliveryRate = m.Streams, m.Lost, m.Loss, m.Rate
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
	l.hop.show(k.paths)
	l.view.paths, l.view.lost = k.paths.infos(), !k.paths.lostAt.IsZero()
	l.view.candidates, l.view.signalRTT = k.candidates, k.signalRTT
	if s := k.sessions.best(); s != nil {
		l.view.initiator = s.initiator
	}
	if info, ok := l.view.inUse(); ok && changed {
		close(l.view.changed)
		l.view.changed = make(chan struct{})
		l.watchers.tellAll(l.ep, info)
	}
}
