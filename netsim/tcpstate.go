package netsim

import "time"

const (
	tcpNew       = iota // dialled, and nothing sent yet
	tcpAsking           // a SYN was sent
	tcpAnswering        // a SYN came
	tcpOpen
	tcpLingering // both sides have ended: what is left is to acknowledge the end again
	tcpOver
)

// Times of Linux and of Go's sockets.
const (
	firstRTO       = time.Second // RFC 6298, section 2.1
	minRTO         = 200 * time.Millisecond
	maxRTO         = 2 * time.Minute
	synRetries     = 6 // the last of them is given up 127 s after the first SYN
	synAckRetries  = 5
	dataRetries    = 15
	keepaliveEvery = 15 * time.Second
	keepaliveTries = 9
	lingerFor      = time.Minute
	challengeEvery = 500 * time.Millisecond
)

// tcpState is what a stream knows, as packets see it. Sequence numbers are those of
// tcpHeader: a SYN has isn, the first byte isn+1.
type tcpState struct {
	state int
	mss   int

	// What we send: up to una it is acknowledged, up to top it was sent, and next is
	// what to send next, before top when something is to be sent again.
	isn, una, next, top uint64
	edge                uint64 // the peer has room up to here
	fin                 bool   // our end has been sent; it has top-1
	send                congestion

	// What we receive: everything before rcv is there. The rest came early.
	irs, rcv   uint64
	early      []span
	offered    uint64 // the edge that the peer knows of
	end        uint64 // the sequence number of the peer's end, if known
	peerEnded  bool   // everything up to it has come
	endIsKnown bool
	first      bool // we ended first, so we linger

	owesAck bool // the peer waits for a segment of ours
	resend  bool // the first segment that is not acknowledged is to be sent again
	retries int
	probes  int   // keepalives without an answer
	heard   int64 // when the peer was heard, or probed

	rtoAt, lingerTo, challenged int64
}

// A span is a range of sequence numbers.
type span struct{ from, to uint64 }

// maxEarly is how many spans may have come early.
const maxEarly = 64

// begin starts a stream on its way: its first segment is to be sent now.
func (c *TCPConn) begin(at int64, state int) {
	c.host.tcp.streams[ends{c.local, c.remote}] = c
	c.state = state
	c.mss = 0xffff
	c.isn = uint64(at)/4000 + 1 // RFC 9293, section 3.4.1
	c.una, c.next, c.top = c.isn, c.isn, c.isn
	c.rtoAt, c.lingerTo, c.heard = never, never, at
	c.send.begin()
	c.ask(at)
}

// tellNews changes what calls see, from the next nanosecond on.
func (c *TCPConn) tellNews(at int64, change func(*news)) {
	v := c.news.last
	change(&v)
	c.news.set(at, v)
	c.host.net.wakeups.add(at, c.cond.Broadcast)
}

// fail ends the stream with an error for its calls.
func (c *TCPConn) fail(at int64, err error) {
	c.tellNews(at, func(v *news) { v.err = err })
	c.vanish()
}

// abandon resets a stream that nobody will use any more.
func (c *TCPConn) abandon(at int64) {
	if c.state != tcpOver {
		if c.state != tcpAsking {
			c.transmit(at, tcpHeader{flags: flagRST | flagACK, seq: c.top}, 0)
		}
		c.vanish()
	}
}

// vanish removes the stream from its host, without telling anybody.
func (c *TCPConn) vanish() {
	if c.state == tcpOver {
		return
	}
	t := &c.host.tcp
	if c.state == tcpAnswering {
		c.listener.opening--
	}
	c.state = tcpOver
	if at := (ends{c.local, c.remote}); t.streams[at] == c {
		delete(t.streams, at)
	}
	delete(t.made, c)
	t.giveBack(c.local.Port())
	c.host.net.streams.make(c, never)
}

// refreshed begins the time anew after which the peer is asked whether it is there.
func (c *TCPConn) refreshed(at int64) {
	c.heard, c.probes = at, 0
}
