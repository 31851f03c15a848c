package stunclient

import (
	"context"
	"net/netip"
	"time"
)

const (
	defaultPatience = 3 * time.Second
	maxServers      = 32 // asked at once
)

// Report is what several servers together told about a socket.
type Report struct {
	IPv4, IPv6 Family
	Results    []Result  // in the order of the servers
	Failures   []Failure // in the order of the servers
}

// Failure is a server that was of no use.
type Failure struct {
	Server netip.AddrPort
	Err    error
}

// Discover asks servers at once, IPv4 and IPv6 together, and returns what they told when all have answered or failed,
// at the latest when Patience or ctx ends. It asks at most 32 servers, each once, and in their order.
func (c *Client) Discover(ctx context.Context, servers []netip.AddrPort) Report {
	patience := c.Patience
	if patience <= 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()

	servers = distinct(servers)
	servers = servers[:min(len(servers), maxServers)]
	outcomes := make([]outcome, len(servers))
	asked := make([]*transaction, len(servers))
	for i, s := range servers {
		asked[i] = &transaction{server: s}
	}
	c.ask(ctx, asked, func(i int, o outcome) {
		if outcomes[i] = o; o.err == nil && c.OnAnswer != nil {
			c.OnAnswer(o.result)
		}
	})
	return report(servers, outcomes, c.Local.Port())
}

// report sums up the outcomes of asking servers.
func report(servers []netip.AddrPort, outcomes []outcome, localPort uint16) (r Report) {
	for i, o := range outcomes {
		if o.err != nil {
			r.Failures = append(r.Failures, Failure{servers[i], o.err})
		} else {
			r.Results = append(r.Results, o.result)
		}
	}
	r.IPv4, r.IPv6 = classify(r.Results, localPort)
	return r
}

// distinct returns the servers in their order, each once.
func distinct(servers []netip.AddrPort) (once []netip.AddrPort) {
	seen := make(map[netip.AddrPort]bool)
	for _, s := range servers {
		if s = unmap(s); !seen[s] {
			seen[s] = true
			once = append(once, s)
		}
	}
	return once
}
