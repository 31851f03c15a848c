package stunclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// names is a resolver that knows a few names. One that it doesn't know is looked up for ever.
type names map[string][]string

func (n names) LookupNetIP(ctx context.Context, network, host string) (ips []netip.Addr, err error) {
	if network != "ip" {
		return nil, fmt.Errorf("unexpected network %q", network)
	}
	known, ok := n[host]
	if !ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, ip := range known {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	if len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, err
}

var resolver = names{
	"one.example":  {"192.0.2.1"},
	"both.example": {"2001:db8::1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::2", "2001:db8::3"},
	"bad.example":  {"0.0.0.0", "::", "224.0.0.1", "ff02::1"},
	"none.example": {},
}

func TestResolveServers(t *testing.T) {
	for _, tt := range []struct {
		hosts []string
		want  []string
	}{
		{nil, nil},
		{[]string{"one.example"}, []string{"192.0.2.1:3478"}},
		{[]string{"stun:one.example:19302"}, []string{"192.0.2.1:19302"}},
		{[]string{"both.example:3479"}, []string{"192.0.2.1:3479", "192.0.2.2:3479", "[2001:db8::1]:3479", "[2001:db8::2]:3479"}},
		{[]string{"192.0.2.9", "192.0.2.9:1", "2001:db8::9", "[2001:db8::9]", "[2001:db8::9]:2", "::ffff:192.0.2.9"},
			[]string{"192.0.2.9:3478", "192.0.2.9:1", "[2001:db8::9]:3478", "[2001:db8::9]:2"}},
		{[]string{"one.example", "both.example", "one.example:3478"},
			[]string{"192.0.2.1:3478", "192.0.2.2:3478", "[2001:db8::1]:3478", "[2001:db8::2]:3478"}},
	} {
		got, err := ResolveServers(t.Context(), resolver, tt.hosts)
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if err != nil || !slices.Equal(text, tt.want) {
			t.Errorf("%q: %v, %v; want %v", tt.hosts, text, err, tt.want)
		}
	}
}

func TestCheckServer(t *testing.T) {
	for server, ok := range map[string]bool{
		"192.0.2.1": true, "stun:stun.example.org": true, "[2001:db8::1]:3478": true,
		"": false, "host:port": false, "a b": false, "192.0.2.1:0": false, "http://x/": false,
	} {
		if err := CheckServer(server); (err == nil) != ok {
			t.Errorf("%q: %v", server, err)
		}
	}
}

func TestResolveServersErrors(t *testing.T) {
	for host, want := range map[string]string{
		"none.example":             "no such host",
		"bad.example":              "no usable address",
		"one.example:0":            "port",
		"one.example:70000":        "port",
		"one.example:stun":         "port",
		"":                         "HOST:PORT",
		":3478":                    "HOST:PORT",
		"a b":                      "HOST:PORT",
		"http://one.example":       "HOST:PORT",
		"one:two:three":            "brackets",
		"[2001:db8::1:3478":        "HOST:PORT",
		strings.Repeat("a", 300):   "HOST:PORT",
		"turn:one.example:3478":    "HOST:PORT",
		"one.example/path?query#x": "HOST:PORT",
	} {
		got, err := ResolveServers(t.Context(), resolver, []string{host, "one.example"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", host, err, want)
		}
		if !slices.Equal(got, []netip.AddrPort{serv1}) {
			t.Errorf("%q: the other server gave %v", host, got)
		}
	}
	if _, err := ResolveServers(t.Context(), resolver, make([]string, maxHosts+1)); err == nil {
		t.Error("any number of servers is taken")
	}
}

func TestResolveServersIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got, err := ResolveServers(t.Context(), resolver, []string{"slow.example", "one.example", "slower.example"})
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 1 || time.Since(start) != lookupTimeout {
			t.Errorf("%v, %v after %v", got, err, time.Since(start))
		}
	})
}
