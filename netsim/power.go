package netsim

import (
	"net"
	"syscall"
)

// power says whether a host runs. Times are of the network, and a nanosecond after
// the call, as with every change (see change); calls look at them, so that it does not
// matter whether the scheduler or the program runs first at that instant.
type power struct {
	pausedFrom, pausedTo int64 // not paused when the latter is 0
	down                 bool  // crashed, as calls see it
	off                  bool  // the same as packets see it: a change later
}

// Pause stops the host, as when a machine sleeps or a process is stopped: reads and
// writes of its sockets block until Resume, also those that have a deadline; a
// program is stopped by the first of them that it does. Packets go on to arrive, and
// wait in the receive buffers. To take the network away as well, use [Host.Unplug].
func (h *Host) Pause() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.power.pausedTo != never {
		h.power.pausedFrom, h.power.pausedTo = h.net.now()+1, never
	}
}

// Resume undoes Pause. Deadlines that have passed meanwhile have passed.
func (h *Host) Resume() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.power.pausedTo == never {
		h.power.pausedTo = h.net.now() + 1
		h.net.later(h.wakeAll)
	}
}

func (h *Host) wakeAll() {
	for _, c := range h.bound.all() {
		c.readable.Broadcast()
	}
	h.tcp.wakeAll()
}

// paused reports whether the host is paused now. The network's mutex is held.
func (h *Host) paused() bool {
	p := &h.power
	if p.pausedTo == 0 {
		return false
	}
	now := h.net.now()
	return p.pausedFrom <= now && now < p.pausedTo
}

// Crash stops the host and forgets its sockets: their calls, also those that wait,
// fail with syscall.ENETDOWN, and so does ListenUDP until Start. What they hold, and
// what comes for the host, is lost. The host keeps its addresses.
func (h *Host) Crash() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	dies := h.net.now() + 1
	dead := h.bound.all()
	for _, c := range dead {
		c.dies = dies
		h.bound.remove(c)
	}
	h.tcp.crash(dies)
	h.power.down = true
	if h.power.pausedTo == never {
		h.power.pausedTo = dies
	}
	h.net.later(func() {
		h.power.off = true
		for _, c := range dead {
			h.open.remove(c)
			c.discard()
		}
		h.tcp.forget(dies)
	})
}

// Start lets a host that has crashed work again, with new sockets. It does nothing
// to one that runs.
func (h *Host) Start() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.power.down = false
	h.net.later(func() { h.power.off = false })
}

// err returns why the socket can do nothing any more, or nil. The network's mutex is
// held.
func (c *Conn) err() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.dies != never && c.dies <= c.host.net.now():
		return syscall.ENETDOWN
	}
	return nil
}
