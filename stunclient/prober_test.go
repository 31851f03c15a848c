package stunclient_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/stuntest"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

// lab is an internet with a server of RFC 5780 and a host behind routers, from where a Prober asks.
type lab struct {
	*world
	server stuntest.Server
	host   *netsim.Host
	prober *stunclient.Prober
}

func newLab(t *testing.T) *lab {
	w := &world{Network: netsim.New(netsim.Config{Seed: 1}), t: t}
	l := &lab{world: w, server: stuntest.Server{
		Addrs: [2]netip.Addr{ip("192.0.2.1"), ip("192.0.2.2")}, Ports: [2]uint16{3478, 3479},
	}}
	h := w.NewHost("server", w.Internet(), netsim.Link{Delay: delay}, l.server.Addrs[:]...)
	wait, err := stuntest.Serve(&l.server, h.ListenUDP)
	if err != nil {
		t.Fatal(err)
	}
	l.readers.Go(wait)
	return l
}

// behind puts the host behind a NAT.
func (l *lab) behind(nat netsim.NAT) {
	l.on(l.home("home", l.Internet(), "203.0.113.7", nat), ip("192.168.1.2"))
}

// on puts the host on a segment.
func (l *lab) on(s *netsim.Segment, addr netip.Addr) {
	l.host = l.NewHost("client", s, netsim.Link{Delay: delay}, addr)
	l.prober = &stunclient.Prober{Rand: seeded(1), Open: func() (stunclient.Socket, error) {
		return l.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	}}
}

var (
	behaviours = []netsim.Behaviour{netsim.EndpointIndependent, netsim.AddressDependent, netsim.AddressAndPortDependent}
	dependence = map[netsim.Behaviour]stunclient.Dependence{
		netsim.EndpointIndependent:     stunclient.EndpointIndependent,
		netsim.AddressDependent:        stunclient.AddressDependent,
		netsim.AddressAndPortDependent: stunclient.AddressAndPortDependent,
	}
)

// https://www.rfc-editor.org/rfc/rfc5780.html#section-4
func TestBehaviourOfEveryNAT(t *testing.T) {
	for _, mapping := range behaviours {
		for _, filtering := range behaviours {
			t.Run(mapping.String()+" "+filtering.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t)
					defer l.close()
					l.behind(netsim.NAT{Mapping: mapping, Filtering: filtering, Ports: netsim.RandomPorts})
					start := time.Now()
					b, err := l.prober.Behaviour(t.Context(), l.server.At(0, 0))
					if err != nil || b.Mapping != dependence[mapping] || b.Filtering != dependence[filtering] {
						t.Errorf("%+v, %v", b, err)
					}
					if want := mapping == netsim.EndpointIndependent || filtering == netsim.EndpointIndependent; b.Verified != want {
						t.Errorf("verified: %v, want %v", b.Verified, want)
					}
					if took := time.Since(start); took > 3*time.Second {
						t.Errorf("took %v", took)
					}
					if len(b.Sightings) != 3 || b.Other != l.server.At(1, 1) {
						t.Errorf("%+v", b)
					}
				})
			})
		}
	}
}

// A firewall that translates nothing filters all the same, and a host in the open neither.
func TestBehaviourWithoutNAT(t *testing.T) {
	for name, want := range map[string]stunclient.Dependence{
		"firewall": stunclient.AddressAndPortDependent, "open": stunclient.EndpointIndependent,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			defer l.close()
			s := l.NewSegment("home")
			l.NewRouter("router", netsim.RouterConfig{Outside: l.Internet(), Inside: s, NAT: netsim.Presets[name]})
			l.on(s, ip("198.51.100.2"))
			b, err := l.prober.Behaviour(t.Context(), l.server.At(0, 0))
			if err != nil || b.Mapping != stunclient.EndpointIndependent || b.Filtering != want || !b.Verified {
				t.Errorf("%s: %+v, %v", name, b, err)
			}
			if b.Sightings[0].Mapped != netip.AddrPortFrom(ip("198.51.100.2"), b.Local) {
				t.Errorf("%s: seen at %v", name, b.Sightings[0].Mapped)
			}
		})
	}
}

// A server without a working second address says nothing of filters.
func TestBehaviourNeedsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.server.NoChange = true
		l.behind(netsim.Presets["port-restricted"])
		b, err := l.prober.Behaviour(t.Context(), l.server.At(0, 0))
		if !errors.Is(err, stunclient.ErrUnsupported) || b.Filtering != stunclient.Unknown || len(b.Sightings) != 3 {
			t.Errorf("%+v, %v", b, err)
		}
	})
}

func TestBehaviourWithLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		s := l.home("home", l.Internet(), "203.0.113.7", netsim.Presets["full-cone"])
		l.on(s, ip("192.168.1.2"))
		l.host.SetLink(netsim.Link{Delay: delay, Loss: 0.1}, netsim.Link{Delay: delay, Loss: 0.1})
		wrong := 0
		for range 50 {
			b, err := l.prober.Behaviour(t.Context(), l.server.At(0, 0))
			if err != nil || b.Mapping != stunclient.EndpointIndependent || b.Filtering != stunclient.EndpointIndependent {
				wrong++
			}
		}
		if wrong > 2 { // 0.19³ = 0.7 % for each of several tests
			t.Errorf("%d of 50 were wrong", wrong)
		}
	})
}

// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.5
func TestHairpin(t *testing.T) {
	for _, filtering := range behaviours {
		for _, hairpin := range []netsim.Hairpin{netsim.HairpinOff, netsim.HairpinExternal} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				l.behind(netsim.NAT{Filtering: filtering, Ports: netsim.RandomPorts, Hairpin: hairpin})
				start := time.Now()
				got, err := l.prober.Hairpin(t.Context(), l.server.At(0, 0))
				if err != nil || got != (hairpin != netsim.HairpinOff) {
					t.Errorf("%v, hairpin %v: %v, %v", filtering, hairpin, got, err)
				}
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}
