package netsim

import (
	"fmt"
	"io"
)

// A capture writes what passes some interfaces to one file.
type capture struct {
	net *Network
	w   io.Writer
	err error // the first one of w; nothing is written after it
	ip  []byte
	buf []byte
}

// A tap is where a capture looks: at one direction of an interface. A nil one is
// where none does.
type tap struct {
	capture   *capture
	iface     uint32
	direction byte
}

// held is the packet that a tap has seen and whose fate at this interface is not
// known yet. It is known before the tap sees another one.
type held struct {
	tap *tap
	at  int64
}

// A wire is an interface as captures call it.
type wire struct {
	name  string
	iface *iface
}

// Capture writes what passes the links of all hosts and routers that there are to one
// file, as [Host.Capture] does. Interfaces have the names of their hosts and routers.
func (n *Network) Capture(w io.Writer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.capture(w, n.wires)
}

// Capture writes what passes the host's link to w, as tcpdump would on the host's
// interface, in the format pcapng: one Write for each packet, made by the scheduler. A
// packet that is dropped on the link, or by the host, has a comment that says why.
// [Network.Close] returns the first error of w, and before it nobody else should
// touch w. Another Capture takes the place of
// the one before; with a nil w it only ends it.
func (h *Host) Capture(w io.Writer) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.capture(w, []wire{{h.name, h.port}})
}

// Capture writes what passes the router to w, as [Host.Capture] does: its link to the
// outside, and its interface on the inside.
func (r *Router) Capture(w io.Writer) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.net.capture(w, r.wires())
}

func (r *Router) wires() []wire {
	return []wire{{r.name + " outside", r.outside}, {r.name + " inside", r.inside}}
}

// capture begins a file for interfaces. n.mu is held.
func (n *Network) capture(w io.Writer, wires []wire) {
	var c *capture
	if w != nil {
		c = &capture{net: n, w: w}
		n.captures = append(n.captures, c)
		head := appendSection(nil)
		for _, x := range wires {
			head = appendInterface(head, x.name)
		}
		c.write(head)
	}
	n.later(func() {
		for k, x := range wires {
			i := x.iface
			if i.up.tap, i.down.tap = nil, nil; c != nil {
				i.up.tap = &tap{c, uint32(k), outbound}
				i.down.tap = &tap{c, uint32(k), inbound}
			}
		}
	})
}

func (c *capture) write(b []byte) {
	if c.err != nil {
		return
	}
	if _, err := c.w.Write(b); err != nil {
		c.err = fmt.Errorf("netsim: capture: %w", err)
	}
}

// see takes a packet down as it is now, until it is known what becomes of it.
func (t *tap) see(at int64, p *packet) {
	if t == nil {
		return
	}
	t.capture.ip = p.appendIP(t.capture.ip[:0])
	p.held = held{t, at}
}

// passes writes a packet that a tap has seen, if one has. What becomes of it from
// here on is not its business.
func (p *packet) passes() {
	if p.held.tap != nil {
		p.held.write("")
		p.held = held{}
	}
}

// leaves is for a packet that was not dropped on a link: those on their way up have
// passed the interface, those on their way down are still to come by.
func (t *tap) leaves(p *packet) {
	switch {
	case t == nil:
	case t.direction == outbound:
		p.passes()
	default:
		p.held = held{}
	}
}

func (h held) write(comment string) {
	c := h.tap.capture
	nanos := uint64(c.net.start.UnixNano() + h.at)
	c.buf = appendPacket(c.buf[:0], h.tap.iface, nanos, h.tap.direction, c.ip, comment)
	c.write(c.buf)
}
