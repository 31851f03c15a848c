package netsim

import "time"

// deadlines are those of a socket. The network's mutex guards them.
type deadlines struct {
	read, write time.Time
	alarm       *time.Timer // wakes reads at their deadline
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (d *deadlines) readPassed() bool  { return passed(d.read) }
func (d *deadlines) writePassed() bool { return passed(d.write) }

func (d *deadlines) stop() {
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
		c.deadline.write = *write
	}
	if read != nil {
		c.setReadDeadline(*read)
	}
	return nil
}

func (c *Conn) setReadDeadline(t time.Time) {
	d := &c.deadline
	d.stop()
	d.read = t
	if pause := time.Until(t); !t.IsZero() && pause > 0 {
		if d.alarm == nil {
			d.alarm = time.AfterFunc(pause, c.wakeReads)
		} else {
			d.alarm.Reset(pause)
		}
	}
	c.readable.Broadcast()
}

func (c *Conn) wakeReads() {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.readable.Broadcast()
}
