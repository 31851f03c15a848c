package portmap

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"sync"
)

// Client keeps a port mapped. Its methods may be called from any goroutine.
type Client struct {
	o       Options
	changed chan struct{} // closed and replaced when the network changes; guarded by mu
	telling sync.Mutex    // held during OnChange

	randMu sync.Mutex

	mu       sync.Mutex
	mappings [2]Mapping // for IPv4 and IPv6
	attempts [2][]Attempt
	searched [2]bool
	err      error
}

// New returns a client that does nothing before Run.
func New(o Options) *Client {
	return &Client{o: o.withDefaults(), changed: make(chan struct{})}
}

// Run keeps the port mapped until ctx ends; then it removes the mapping, which takes a second at most. Call it once.
func (c *Client) Run(ctx context.Context) {
	var keepers sync.WaitGroup
	for f := range families {
		k := &keeper{c: c, family: f}
		c.read(k.nonce[:])
		keepers.Go(func() { k.run(ctx) })
	}
	keepers.Wait()
}

// Changed tells that this host is in another network now, or woke up: everything is asked anew, at once.
func (c *Client) Changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Mapping returns the mapping for IPv4.
func (c *Client) Mapping() Mapping {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mappings[v4]
}

// Mappings returns those that routers have made and that live, or may: at most one for IPv4 and one for IPv6.
func (c *Client) Mappings() (out []Mapping) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.mappings {
		if m.State == Made || m.State == Believed {
			out = append(out, m)
		}
	}
	return out
}

// Status tells what was found at which gateway.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Mappings: []Mapping{c.mappings[v4]}, Searched: c.searched[v4] && c.searched[v6], Err: c.err}
	if c.mappings[v6].State != Tried {
		s.Mappings = append(s.Mappings, c.mappings[v6])
	}
	s.Attempts = slices.Concat(c.attempts[v4], c.attempts[v6])
	slices.SortFunc(s.Attempts, func(a, b Attempt) int {
		return cmp.Or(a.Gateway.Compare(b.Gateway), cmp.Compare(b.Protocol, a.Protocol))
	})
	return s
}

// news returns what Changed closes.
func (c *Client) news() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// tell takes in what became of a mapping.
func (c *Client) tell(f family, m Mapping) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	before := c.mappings[f]
	c.mappings[f] = m
	c.mu.Unlock()
	noIPv6 := f == v6 && before.State == Tried && m.State == Tried // which few routers have: no news
	if m != before && !noIPv6 {
		c.o.OnChange(m)
	}
}

// searchEnded takes in what was found.
func (c *Client) searchEnded(f family, attempts []Attempt, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts[f], c.searched[f] = attempts, true
	if f == v4 {
		c.err = err
	}
}

// read fills b from the source of randomness. One that fails leaves b as it is: what depends on it need not be secret to
// work.
func (c *Client) read(b []byte) {
	c.randMu.Lock()
	defer c.randMu.Unlock()
	_, _ = io.ReadFull(c.o.Rand, b)
}

// fraction returns a number of [0, 1).
func (c *Client) fraction() float64 {
	var b [4]byte
	c.read(b[:])
	return float64(binary.BigEndian.Uint32(b[:])) / (1 << 32)
}

// family is IPv4 or IPv6: each has routers and a mapping of its own.
type family uint8

const (
	v4 family = iota
	v6
	families
)

func (f family) has(a netip.Addr) bool { return a.Is4() == (f == v4) }
