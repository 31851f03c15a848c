package relaymesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Frames of the streams by which circuits are set up. They have the layout of those of introductions.
const (
	frameAsk      frameType = 0x10 // to the next relay
	frameOffered  frameType = 0x11 // to the target
	frameGranted  frameType = 0x12 // back
	frameMove     frameType = 0x13 // both ways, any time later: a relay is about to end, move to others
	frameReserve  frameType = 0x14 // to a relay, again to renew
	frameReserved frameType = 0x15 // back, each time

	idLen     = len(kcptransport.PeerID{})
	limitsLen = 8 + 8 + 4 + 4
)

// ask is what a relay is asked for.
type ask struct {
	target kcptransport.PeerID
	label  uint32                // that the one who asks wants on what it gets
	passed []kcptransport.PeerID // who asked first, and the relays up to here; empty when the first one asks
	route  []kcptransport.PeerID // relays that are still to come
}

// offer is what a target is offered.
type offer struct {
	origin kcptransport.PeerID
	label  uint32
	limits Limits
	relays []kcptransport.PeerID // from the origin on
}

// granted is the answer.
type granted struct {
	label  uint32
	limits Limits
	relays []kcptransport.PeerID // from the one that is told on
}

func appendIDs(dst []byte, ids []kcptransport.PeerID) []byte {
	dst = append(dst, byte(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// bodyReader takes a body apart. What is cut off shows in err, after the last field.
type bodyReader struct {
	b   []byte
	err error
}

// firstFrame begins to read the first frame of a stream, behind its version.
func firstFrame(frame []byte, want frameType) (bodyReader, error) {
	t, body := splitFrame(frame)
	r := bodyReader{b: body}
	if t != want {
		return r, fmt.Errorf("the stream starts with a frame of type %d instead of %d", t, want)
	}
	if r.take(1)[0] != version || r.err != nil {
		return r, errVersion
	}
	return r, nil
}

func (r *bodyReader) take(n int) []byte {
	if len(r.b) < n {
		r.err = errCut
		r.b = nil
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

var errCut = errors.New("it is cut off")

func (r *bodyReader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *bodyReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *bodyReader) id() (id kcptransport.PeerID) {
	copy(id[:], r.take(idLen))
	return id
}

// ids reads at most most IDs, none of them zero or twice.
func (r *bodyReader) ids(most int) (ids []kcptransport.PeerID) {
	n := int(r.take(1)[0])
	if n > most {
		r.err = fmt.Errorf("it names %d peers where %d may be", n, most)
		return nil
	}
	for range n {
		id := r.id()
		if r.err == nil && (id.IsZero() || slices.Contains(ids, id)) {
			r.err = errLoop
		}
		ids = append(ids, id)
	}
	return ids
}

var errLoop = errors.New("its route names a peer twice")

func appendLimits(dst []byte, l Limits) []byte {
	dst = binary.BigEndian.AppendUint64(dst, l.BytesPerSecond)
	dst = binary.BigEndian.AppendUint64(dst, l.Bytes)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(l.Circuits, 0), 1<<31)))
	return binary.BigEndian.AppendUint32(dst, uint32(min(max(l.Duration/time.Second, 0), 1<<32-1)))
}

func (r *bodyReader) limits() Limits {
	return Limits{
		BytesPerSecond: r.uint64(), Bytes: r.uint64(), Circuits: int(r.uint32()), Duration: time.Duration(r.uint32()) * time.Second,
	}
}

// last reports whether the target is next to the relay that is asked.
func (a ask) last() bool { return len(a.route) == 0 }

// origin returns who asked first, once the ask was read.
func (a ask) origin() kcptransport.PeerID { return a.passed[0] }

func (a ask) frame() []byte {
	b := append([]byte{version}, a.target[:]...)
	b = binary.BigEndian.AppendUint32(b, a.label)
	return appendFrame(nil, frameAsk, appendIDs(appendIDs(b, a.passed), a.route)...)
}

// parseAsk reads what from asks the relay self for. The route it returns has no loop.
func parseAsk(frame []byte, self, from kcptransport.PeerID) (ask, error) {
	r, err := firstFrame(frame, frameAsk)
	if err != nil {
		return ask{}, err
	}
	a := ask{target: r.id(), label: r.uint32()}
	a.passed = r.ids(MaxHops)
	a.route = r.ids(MaxHops - 1)
	if r.err != nil {
		return a, r.err
	}
	all := slices.Concat(a.passed, a.route, []kcptransport.PeerID{a.target, self})
	switch {
	case a.label == 0 || a.target.IsZero():
		return a, errors.New("it names no label, or nobody")
	case len(a.passed) > 0 && a.passed[len(a.passed)-1] != from:
		return a, errors.New("who asks is not the last relay that it names")
	case len(a.passed) == 1:
		return a, errors.New("it names who asked first, but no relay")
	}
	if len(a.passed) == 0 {
		a.passed = []kcptransport.PeerID{from}
		all = append(all, from)
	}
	for i, id := range all {
		if slices.Contains(all[:i], id) {
			return a, errLoop
		}
	}
	if len(a.passed)+len(a.route) > MaxHops { // the origin counts for this relay
		return a, fmt.Errorf("its route has more than %d relays", MaxHops)
	}
	return a, nil
}

func (o offer) frame() []byte {
	b := append([]byte{version}, o.origin[:]...)
	b = binary.BigEndian.AppendUint32(b, o.label)
	return appendFrame(nil, frameOffered, appendIDs(appendLimits(b, o.limits), o.relays)...)
}

func parseOffer(frame []byte) (offer, error) {
	r, err := firstFrame(frame, frameOffered)
	if err != nil {
		return offer{}, err
	}
	o := offer{origin: r.id(), label: r.uint32(), limits: r.limits()}
	o.relays = r.ids(MaxHops)
	if r.err == nil && (o.label == 0 || o.origin.IsZero() || len(o.relays) == 0) {
		r.err = errors.New("it names no label, or nobody")
	}
	return o, r.err
}

func (g granted) frame() []byte {
	b := binary.BigEndian.AppendUint32(nil, g.label)
	return appendFrame(nil, frameGranted, appendIDs(appendLimits(b, g.limits), g.relays)...)
}

func parseGranted(body []byte) (granted, error) {
	r := bodyReader{b: body}
	g := granted{label: r.uint32(), limits: r.limits()}
	g.relays = r.ids(MaxHops)
	if r.err == nil && g.label == 0 {
		r.err = errors.New("it names no label")
	}
	return g, r.err
}

func reservedFrame(l Limits, lasts time.Duration) []byte {
	b := appendLimits(nil, l)
	return appendFrame(nil, frameReserved, binary.BigEndian.AppendUint32(b, uint32(lasts/time.Second))...)
}

func parseReserved(body []byte) (Limits, time.Duration, error) {
	r := bodyReader{b: body}
	l, lasts := r.limits(), min(time.Duration(r.uint32())*time.Second, maxReservation)
	if r.err == nil && lasts < minReservation {
		r.err = fmt.Errorf("a reservation for %v is none", lasts)
	}
	return l, lasts, r.err
}

// The shortest reservation that is worth having, since it is renewed at half time, and the longest that is believed in.
const (
	minReservation = 10 * time.Second
	maxReservation = 24 * time.Hour
)

// narrow returns the narrower of two limits, each of which may be 0 for none.
func (l Limits) narrow(m Limits) Limits {
	return Limits{
		BytesPerSecond: narrower(l.BytesPerSecond, m.BytesPerSecond), Bytes: narrower(l.Bytes, m.Bytes),
		Circuits: narrower(l.Circuits, m.Circuits), Duration: narrower(l.Duration, m.Duration),
	}
}

func narrower[T uint64 | int | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
