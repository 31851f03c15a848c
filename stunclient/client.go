package stunclient

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v2"
)

const maxPending = 1024 // transactions under way in one client

var (
	errTooMany  = fmt.Errorf("%d transactions are under way already (wait for some)", maxPending)
	errRepeated = errors.New("the source of randomness repeats itself")
)

// Client asks STUN servers on a socket that it doesn't own. Its fields are set before its first use and not changed
// afterwards; its methods may be called from any goroutine, any number of transactions at once.
type Client struct {
	// Send sends one packet from the shared socket. It must not block for long, nor keep b. An error counts as a lost
	// packet, unless it is net.ErrClosed or comes twice in a row. Required.
	Send func(b []byte, to netip.AddrPort) error

	// Local is where the socket is bound. The IP address may be unspecified. It decides [Family.PortPreserved].
	Local netip.AddrPort

	// OnAnswer, if set, is called by Discover for each answer as it comes, one call at a time.
	OnAnswer func(Result)

	// Patience is how long Discover waits for servers that don't answer. Default 3 s, which is time for three requests.
	Patience time.Duration

	// RTO is the time to the first retransmission, which doubles with each. Default 500 ms, the least that the RFC wants
	// for servers on the internet; at most a minute.
	RTO time.Duration

	// Requests is how often a request is sent before the transaction fails: the RFC's Rc. Default 7, at most 16.
	Requests int

	// LastWait is how long the answer to the last request is waited for, in units of RTO: the RFC's Rm. Default 16.
	LastWait int

	// Rand is where transaction IDs come from. Default crypto/rand. It must not be predictable, except in tests.
	Rand io.Reader

	mu      sync.Mutex
	pending map[transactionID]*transaction
	stats   Stats
}

// Stats counts what a client did and what it ignored.
type Stats struct {
	Transactions uint64 // begun
	Requests     uint64 // sent, retransmissions included
	SendErrors   uint64 // requests that couldn't be sent
	Answers      uint64 // accepted, error responses included
	Errors       uint64 // error responses accepted
	Unknown      uint64 // ignored: the answer to nothing that is under way, so late, repeated or forged
	WrongSource  uint64 // ignored: the right transaction from the wrong address
	Malformed    uint64 // ignored: the right transaction in a message that breaks the RFC
}

// Stats returns the counters as they are now.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Handle takes a STUN packet from the socket and returns whether it belonged to one of this client's transactions, so
// that nobody else need look at it. It doesn't block and doesn't keep b.
func (c *Client) Handle(b []byte, from netip.AddrPort) bool {
	if !IsSTUN(b) || !isResponse(messageType(b)) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := idOf(b)
	t := c.pending[id]
	if t == nil {
		c.stats.Unknown++
		return false
	}
	if !t.expects(from) {
		c.stats.WrongSource++
		return true
	}
	r, err := parseResponse(b)
	if err != nil {
		c.stats.Malformed++
		return true
	}
	c.stats.Answers++
	if r.failed {
		c.stats.Errors++
	}
	delete(c.pending, id)
	t.answers <- answer{t, r, unmap(from)} // the only one: there is room
	return true
}

func isResponse(t stun.MessageType) bool {
	return t.Class == stun.ClassSuccessResponse || t.Class == stun.ClassErrorResponse
}

// begin registers a transaction with the server that it names.
func (c *Client) begin(t *transaction, now time.Time) error {
	if ip := t.server.Addr(); !ip.IsValid() || ip.IsUnspecified() || t.server.Port() == 0 {
		return errNoServer
	}
	t.schedule, t.due = c.schedule(), now
	if err := c.register(t); err != nil {
		return err
	}
	return t.buildRequest()
}

// register gives a transaction its ID, by which its answer is recognised.
func (c *Client) register(t *transaction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) >= maxPending {
		return errTooMany
	}
	if _, err := io.ReadFull(c.rand(), t.id[:]); err != nil {
		return fmt.Errorf("no randomness for a transaction ID: %w", err)
	}
	if c.pending == nil {
		c.pending = make(map[transactionID]*transaction)
	}
	if c.pending[t.id] != nil {
		return errRepeated
	}
	c.pending[t.id] = t
	c.stats.Transactions++
	return nil
}

// forget takes a transaction away. Its answer, should it still come, is unknown.
func (c *Client) forget(t *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[t.id] == t {
		delete(c.pending, t.id)
	}
}

// send sends one request and counts it.
func (c *Client) send(b []byte, to netip.AddrPort) error {
	err := c.Send(b, to)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests++
	if err != nil {
		c.stats.SendErrors++
	}
	return err
}

func (c *Client) rand() io.Reader {
	if c.Rand != nil {
		return c.Rand
	}
	return rand.Reader
}
