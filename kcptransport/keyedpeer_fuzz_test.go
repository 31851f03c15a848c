package kcptransport

import (
	"encoding/binary"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// keyedPeer is a peer that has completed the handshake and then obeys no rule. Everything it sends is authentic.
type keyedPeer struct {
	w      *world
	victim *node
	conn   *netsim.Conn
	host   *netsim.Host
	index  uint32
	est    *established
	pn     uint64
	next   uint32 // sequence number on conversation 0
	token  uint64 // of the newest probe that the victim sent
	last   []byte // frames sent last
}

const keyedSeed = 66

func (w *world) keyedPeer(victim *node) *keyedPeer {
	w.Helper()
	p := &keyedPeer{w: w, victim: victim}
	p.host = w.net.NewHost("evil", w.net.Internet(), w.link, nodeAddr(keyedSeed, 0), nodeAddr(keyedSeed, 1), nodeAddr(keyedSeed, 2))
	conn, err := p.host.ListenUDP(nodeAddrPort(keyedSeed))
	if err != nil {
		w.Fatal(err)
	}
	p.conn = conn
	w.Cleanup(func() { conn.Close() })
	p.handshake()
	return p
}

// handshake makes new keys, and with them a new link if there is none.
func (p *keyedPeer) handshake() {
	p.w.Helper()
	p.index++
	i, err := newInitiator(testConfig(keyedSeed), p.victim.ID(), p.index, says(testHello(1)))
	if err != nil {
		p.w.Fatal(err)
	}
	p.raw(i.first())
	for deadline := time.Now().Add(time.Second); ; {
		b := p.read(deadline)
		if b == nil {
			return // the victim has had enough: the old keys go on
		}
		if _, est, err := i.handle(b); err == nil {
			p.est, p.pn = est, 0
			p.sealed(appendProbe(nil, 1))
			return
		}
	}
}

func (p *keyedPeer) raw(b []byte) { _, _ = p.conn.WriteToUDPAddrPort(b, p.victim.addr()) }

func (p *keyedPeer) sealed(frames []byte) {
	if len(frames) > maxMaxPacket-dataOverhead {
		frames = frames[:maxMaxPacket-dataOverhead]
	}
	p.last = frames
	p.raw(p.est.keys.seal(nil, p.est.remoteIndex, p.pn, frames))
	p.pn++
}

// read returns the next packet, nil when none comes in time.
func (p *keyedPeer) read(deadline time.Time) []byte {
	_ = p.conn.SetReadDeadline(deadline)
	b := make([]byte, 2000)
	n, _, err := p.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// listen learns what the victim sends for a while: an attacker knows the tokens that it is to answer.
func (p *keyedPeer) listen(d time.Duration) {
	for deadline := time.Now().Add(d); ; {
		b := p.read(deadline)
		if b == nil {
			return
		}
		_, plaintext, err := p.est.keys.open(nil, b)
		if err != nil {
			continue
		}
		if frames, err := parseFrames(plaintext); err == nil {
			for f, ok := frames.next(); ok; f, ok = frames.next() {
				if f.kind == frameProbe {
					p.token = f.token
				}
			}
		}
	}
}

// push appends a KCP segment with data in a frame of its own.
func push(frames []byte, conv, sn uint32, wnd uint16, data []byte) []byte {
	frames, at := openFrame(frames, frameKCP)
	header := len(frames)
	frames = appendSegmentHeader(frames, conv, kcpPush, wnd, 0, sn, 0)
	binary.LittleEndian.PutUint32(frames[header+20:], uint32(len(data)))
	return closeFrame(append(frames, data...), at)
}

// Operations of a script: the operation, the number of its arguments, and these.
const (
	opFrames    = iota // anything at all
	opProbe            // from which address, how large, from how many more
	opAnswer           // from which address, how large: answers the newest probe
	opSegment          // conversation, command, window, sequence number, acknowledged, length, to which 2^n are added
	opStream           // conversation, how many more, messages: opens streams as a good peer does, and sends
	opControl          // type, conversation, code
	opDatagram         // length, how many
	opRepeat           // how often, what was sent last
	opWait             // milliseconds, in twos
	opHandshake        // new keys
	opNumber           // skips 2^n packet numbers
	opClose            // code
	opCount
)

// step does the first operation of a script and returns the rest.
func (p *keyedPeer) step(script []byte) []byte {
	n := min(int(script[1]), len(script)-2)
	op, args, rest := script[0]%opCount, script[2:2+n], script[2+n:]
	arg := func(i int) uint32 {
		if i < len(args) {
			return uint32(args[i])
		}
		return 0
	}
	// number is small, or close to a power of two.
	number := func(i int) uint32 { return arg(i)&7 + 1<<(arg(i)>>3) - 1 }
	switch op {
	case opFrames:
		p.sealed(args)
	case opProbe:
		for k := range arg(2) + 1 {
			p.from(arg(0) + k)
			p.sealed(appendPadding(appendProbe(nil, uint64(arg(1))), int(arg(1))*8))
		}
	case opAnswer:
		p.from(arg(0))
		p.sealed(appendPadding(appendAnswer(nil, p.token, nodeAddrPort(byte(arg(1)))), int(arg(1))*8))
	case opSegment:
		frames, at := openFrame(nil, frameKCP)
		frames = appendSegmentHeader(frames, number(0), byte(80+arg(1)%6), uint16(number(2)), number(3), number(4), number(5))
		binary.LittleEndian.PutUint32(frames[len(frames)-4:], number(6))
		p.sealed(closeFrame(append(frames, make([]byte, min(number(6), 1000))...), at))
	case opStream:
		for k := range arg(1)%32 + 1 {
			conv := arg(0) + 2*k
			frames := push(nil, conv, 0, 65535, []byte("\x01echo"))
			for sn := range arg(2) % 8 {
				frames = push(frames, conv, sn+1, uint16(number(3)), append([]byte{2}, args...))
			}
			p.sealed(frames)
		}
	case opControl:
		b := binary.BigEndian.AppendUint32([]byte{byte(arg(0))}, number(1))
		p.sealed(push(nil, 0, p.next, 128, binary.BigEndian.AppendUint32(b, arg(2))))
		p.next++
	case opDatagram:
		for range arg(1) {
			p.sealed(appendDatagram(nil, make([]byte, 4*arg(0))))
		}
	case opRepeat:
		for range arg(0) {
			p.sealed(p.last)
		}
	case opWait:
		p.listen(time.Duration(arg(0)) * 2 * time.Millisecond)
	case opHandshake:
		p.handshake()
	case opNumber:
		p.pn += 1 << (arg(0) % 34)
	case opClose:
		p.sealed(appendClose(nil, arg(0), string(args)))
	}
	return rest
}

// from makes the peer send from another of its addresses.
func (p *keyedPeer) from(i uint32) {
	p.host.SetAddrs(nodeAddr(keyedSeed, byte(i)))
}

// FuzzKeyedPeer has a peer that holds a key send all it likes inside its link, in authentic packets, while an honest peer
// talks to the same node: nothing panics, the node keeps little, and the honest peer is served in time.
func FuzzKeyedPeer(f *testing.F) {
	op := func(kind byte, args ...byte) []byte { return append([]byte{kind, byte(len(args))}, args...) }
	script := func(ops ...[]byte) (s []byte) {
		for _, op := range ops {
			s = append(s, op...)
		}
		return s
	}
	f.Add(script(op(opStream, 1, 31, 7, 0xff), op(opStream, 2, 31, 7, 0), op(opWait, 200), op(opRepeat, 255), op(opControl, 1, 3, 9)))
	f.Add(script(op(opStream, 2, 3, 7), op(opSegment, 2, 1, 0xff, 3, 4, 5, 6), op(opSegment, 9, 2, 0, 0xff, 0xff, 0xff), op(opWait, 9)))
	f.Add(script(op(opDatagram, 250, 255), op(opDatagram, 0, 255), op(opRepeat, 255), op(opNumber, 33), op(opDatagram, 1, 1)))
	f.Add(script(op(opProbe, 1, 150), op(opWait, 50), op(opAnswer, 1, 140), op(opProbe, 2, 0, 99), op(opWait, 50), op(opProbe, 3, 150, 99), op(opWait, 99), op(opAnswer, 3, 150)))
	f.Add(script(op(opHandshake), op(opHandshake), op(opHandshake), op(opStream, 1, 1, 1), op(opHandshake), op(opHandshake)))
	f.Add(script(op(opStream, 1, 9, 7), op(opClose, 7), op(opWait, 255), op(opHandshake), op(opStream, 1, 9, 7), op(opRepeat, 99)))
	f.Add(script(op(opFrames, 9), op(opFrames), op(opFrames, 3, 255, 255), op(opRepeat, 255), op(opFrames, 6, 0, 0, 0, 1), op(opRepeat, 255)))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1024 {
			return
		}
		inWorld(t, 20*time.Millisecond, func(w *world) { w.runKeyedPeer(script) })
	})
}

func (w *world) runKeyedPeer(script []byte) {
	const streams = 16
	w.link.Rate = 50_000_000
	victim := w.node(2, func(c *Config) { c.MaxStreams = streams })
	go func() {
		for {
			l, err := victim.Accept(w.ctx)
			if err != nil {
				return
			}
			w.serveEcho(l)
		}
	}()
	honest := w.node(1).dial(victim)
	s := w.open(honest, "echo")
	evil := w.keyedPeer(victim)
	for i := 0; len(script) >= 2 && i < 64; i++ {
		script = evil.step(script)
		start := time.Now()
		w.wantEchoOn(s, []byte("serve me"))
		if took := time.Since(start); took > 250*time.Millisecond {
			w.Fatalf("the honest peer waits %v", took)
		}
		victim.wantModest(streams)
	}
	if n := honest.Stats().PathChanges; n != 1 {
		w.Errorf("the honest peer's path changed %d times", n)
	}
}

// wantModest checks that what an endpoint keeps for its peers has its bounds.
func (x *node) wantModest(streams int) {
	x.w.Helper()
	synctest.Wait()
	for _, l := range x.Links() {
		checkMux(x.w, l.mux)
		if n := len(l.Paths()); n > maxPaths {
			x.w.Fatalf("%d paths", n)
		}
		if n := l.Stats().Streams; n > 2*streams {
			x.w.Fatalf("%d streams", n)
		}
	}
	if n := len(x.indices()); n > maxPending+maxSessions*(1+len(x.Links())) {
		x.w.Fatalf("%d indices", n)
	}
	if n := x.queued.Load(); n > maxAllPackets {
		x.w.Fatalf("%d packets wait", n)
	}
	if n := runtime.NumGoroutine(); n > 200 {
		x.w.Fatalf("%d goroutines", n)
	}
}
