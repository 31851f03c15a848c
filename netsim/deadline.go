package netsim

import (
	"sync"
	"time"
)

// A deadline is that of the reads or the writes of a socket. The network's mutex
// guards it.
type deadline struct {
	at    time.Time
	alarm *time.Timer // wakes calls that wait
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set sets the deadline, and has those who wait at a condition woken then and now.
func (d *deadline) set(t time.Time, c *sync.Cond) {
	d.stop()
	d.at = t
	if pause := time.Until(t); !t.IsZero() && pause > 0 {
		if d.alarm == nil {
			d.alarm = time.AfterFunc(pause, func() {
				c.L.Lock()
				defer c.L.Unlock()
				c.Broadcast()
			})
		} else {
			d.alarm.Reset(pause)
		}
	}
	c.Broadcast()
}

func (d *deadline) stop() {
	if d.alarm != nil {
		d.alarm.Stop()
	}
}

// SetDeadline implements net.PacketConn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline implements net.PacketConn. It wakes reads that wait.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline implements net.PacketConn. Writes never wait, so only those
// after the deadline fail.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *Conn) setDeadlines(read, write *time.Time) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.err(); err != nil {
		return c.opError("set", err)
	}
	if write != nil {
		c.writeBy = *write
	}
	if read != nil {
		c.readBy.set(*read, &c.readable)
	}
	return nil
}
