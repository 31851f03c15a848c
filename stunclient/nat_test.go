package stunclient_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// seeded is a source of transaction IDs that a test can repeat.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// world is an internet with two servers of two ports each, and a client somewhere.
type world struct {
	*netsim.Network
	t       *testing.T
	client  *stunclient.Client
	readers sync.WaitGroup
	servers []netip.AddrPort
}

const delay = 20 * time.Millisecond // of the client's link and of each server's, one way

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Network: netsim.New(netsim.Config{Seed: seed}), t: t}
	for i, addrs := range [][]netip.Addr{{ip("192.0.2.1"), ip("2001:db8::1")}, {ip("192.0.2.2"), ip("2001:db8::2")}} {
		h := w.NewHost(fmt.Sprint("server", i), w.Internet(), netsim.Link{Delay: delay}, addrs...)
		for _, port := range []uint16{3478, 3479} {
			w.listen(h, port)
			w.servers = append(w.servers, netip.AddrPortFrom(addrs[0], port))
		}
		w.servers = append(w.servers, netip.AddrPortFrom(addrs[1], 3478))
	}
	return w
}

// listen opens a socket that answers STUN requests.
func (w *world) listen(h *netsim.Host, port uint16) *netsim.Conn {
	w.t.Helper()
	c, err := h.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	if err != nil {
		w.t.Fatal(err)
	}
	w.readers.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if w.client != nil && w.client.Handle(b[:n], from) {
				continue
			}
			if answer := stunclient.Respond(b[:n], from); answer != nil {
				c.WriteToUDPAddrPort(answer, from)
			}
		}
	})
	return c
}

// join puts the client on a segment.
func (w *world) join(s *netsim.Segment, link netsim.Link, addrs ...netip.Addr) {
	c := w.listen(w.NewHost("client", s, link, addrs...), 7337)
	w.client = &stunclient.Client{
		Local: netip.MustParseAddrPort("[::]:7337"), Rand: seeded(1),
		Send: func(b []byte, to netip.AddrPort) error { _, err := c.WriteToUDPAddrPort(b, to); return err },
	}
}

// home makes a segment behind a router with the given NAT.
func (w *world) home(name string, outside *netsim.Segment, outsideAddr string, nat netsim.NAT) *netsim.Segment {
	s := w.NewSegment(name)
	w.NewRouter(name+"-router", netsim.RouterConfig{
		Outside: outside, OutsideAddrs: []netip.Addr{ip(outsideAddr)}, Inside: s, NAT: nat,
	})
	return s
}

func (w *world) close() {
	w.t.Helper()
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
	w.readers.Wait()
}

func TestDiscoverBehindNATs(t *testing.T) {
	const independent, byAddress, byPort = netsim.EndpointIndependent, netsim.AddressDependent, netsim.AddressAndPortDependent
	for _, tt := range []struct {
		name      string
		nat       netsim.NAT
		want      stunclient.Dependence
		preserved bool
		mapped    int // different addresses that the servers see
	}{
		{"full cone", netsim.Presets["full-cone"], stunclient.EndpointIndependent, true, 1},
		{"address-restricted", netsim.Presets["address-restricted"], stunclient.EndpointIndependent, true, 1},
		{"port-restricted", netsim.Presets["port-restricted"], stunclient.EndpointIndependent, true, 1},
		{"random ports", netsim.NAT{Mapping: independent, Filtering: byPort, Ports: netsim.RandomPorts}, stunclient.EndpointIndependent, false, 1},
		{"address-dependent", netsim.NAT{Mapping: byAddress, Filtering: byPort, Ports: netsim.RandomPorts}, stunclient.AddressDependent, false, 2},
		{"symmetric", netsim.Presets["symmetric"], stunclient.AddressAndPortDependent, false, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.close()
				w.join(w.home("home", w.Internet(), "203.0.113.7", tt.nat), netsim.Link{Delay: delay}, ip("192.168.1.2"), ip("2001:db8:7::2"))
				start := time.Now()
				r := w.client.Discover(t.Context(), w.servers)
				if f := r.IPv4; f.Mapping != tt.want || f.PortPreserved != tt.preserved || len(f.Mapped) != tt.mapped || f.Servers != 2 {
					t.Errorf("IPv4 %+v, failures %v", f, r.Failures)
				}
				for _, m := range r.IPv4.Mapped {
					if m.Addr() != ip("203.0.113.7") {
						t.Errorf("seen at %v", m)
					}
				}
				own := netip.MustParseAddrPort("[2001:db8:7::2]:7337")
				if f := r.IPv6; f.Mapping != stunclient.EndpointIndependent || !f.PortPreserved || !slices.Equal(f.Mapped, []netip.AddrPort{own}) {
					t.Errorf("IPv6 %+v, failures %v", f, r.Failures)
				}
				if took := time.Since(start); took > 4*delay+time.Millisecond {
					t.Errorf("took %v for a round trip of %v", took, 4*delay)
				}
			})
		})
	}
}

// A router that is not the worst still is seen as it is through one that is.
func TestDiscoverBehindTwoNATs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.close()
		carrier := w.home("carrier", w.Internet(), "203.0.113.7", netsim.Presets["symmetric"])
		home := w.home("home", carrier, "100.64.0.7", netsim.Presets["full-cone"])
		w.join(home, netsim.Link{Delay: delay}, ip("192.168.1.2"))
		r := w.client.Discover(t.Context(), w.servers)
		if f := r.IPv4; f.Mapping != stunclient.AddressAndPortDependent || f.PortPreserved || len(f.Mapped) != 4 {
			t.Errorf("IPv4 %+v, failures %v", f, r.Failures)
		}
		if f := r.IPv6; f.Servers != 0 || f.Mapping != stunclient.Unknown {
			t.Errorf("IPv6 %+v of a host that has none", f)
		}
	})
}

// Of three requests with a loss of a fifth each way, one in 20 answers is missing.
func TestDiscoverWithLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.close()
		w.join(w.home("home", w.Internet(), "203.0.113.7", netsim.Presets["port-restricted"]),
			netsim.Link{Delay: delay, Jitter: delay, Loss: 0.2}, ip("192.168.1.2"), ip("2001:db8:7::2"))
		answers := 0
		for range 20 {
			r := w.client.Discover(t.Context(), w.servers)
			answers += len(r.Results)
			if r.IPv4.Mapping != stunclient.EndpointIndependent {
				t.Errorf("IPv4 %+v", r.IPv4)
			}
		}
		asked := 20 * len(w.servers)
		if s := w.client.Stats(); answers < asked*9/10 || s.Requests < uint64(asked*5/4) || s.Malformed+s.WrongSource != 0 {
			t.Errorf("%d of %d answers, %+v", answers, asked, s)
		}
	})
}

func TestBindingSeesRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.close()
		home := w.NewSegment("home")
		router := w.NewRouter("router", netsim.RouterConfig{
			Outside: w.Internet(), OutsideAddrs: []netip.Addr{ip("203.0.113.7")}, Inside: home, NAT: netsim.Presets["port-restricted"],
		})
		w.join(home, netsim.Link{Delay: delay}, ip("192.168.1.2"))
		var seen []netip.AddrPort
		for range 2 {
			r, err := w.client.Binding(t.Context(), w.servers[0])
			if err != nil || r.RTT < 4*delay || r.RTT > 4*delay+time.Millisecond {
				t.Errorf("%+v, %v", r, err)
			}
			seen = append(seen, r.Mapped)
			router.Rebind()
		}
		if seen[0] == seen[1] {
			t.Errorf("seen at %v before and after", seen[0])
		}
	})
}

// Requests leave in the order of the servers, so that one seed gives one history of a network.
func TestDiscoverIsRepeatable(t *testing.T) {
	var digests []uint64
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 7)
			defer w.close()
			w.join(w.home("home", w.Internet(), "203.0.113.7", netsim.Presets["symmetric"]),
				netsim.Link{Delay: delay, Jitter: delay, Loss: 0.3}, ip("192.168.1.2"), ip("2001:db8:7::2"))
			w.client.Discover(t.Context(), w.servers)
			digests = append(digests, w.Digest())
		})
	}
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("one seed gave %x", digests)
	}
}
