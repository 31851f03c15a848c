package stunclient

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v2"
)

// script makes hostile answers of what the fuzzer says.
type script []byte

func (s *script) next() (b byte) {
	if len(*s) > 0 {
		b, *s = (*s)[0], (*s)[1:]
	}
	return b
}

var scripted = []netip.AddrPort{serv1, withPort(serv1, 3479), withPort(serv2, 3478), withPort(serv2, 3479), mapped, addr("127.0.0.1:53")}

func (s *script) addr() netip.AddrPort { return scripted[int(s.next())%len(scripted)] }

// answers returns up to three packets that look like answers to a request, from anywhere.
func (s *script) answers(request []byte) (out []packet) {
	for range s.next() % 4 {
		other, from := s.addr(), s.addr()
		b := build(request, stun.BindingSuccess, xorMapped(s.addr()),
			&stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())})
		switch s.next() % 4 {
		case 1:
			b = build(request, stun.BindingError, stun.CodeUnknownAttribute)
		case 2:
			b[int(s.next())%len(b)] ^= s.next()
		}
		out = append(out, packet{b, from, time.Duration(s.next()) * ms})
	}
	return out
}

// FuzzProber feeds whole conversations of hostile answers into the tests on spare sockets.
func FuzzProber(f *testing.F) {
	f.Add(byte(0), []byte{1, 3, 0, 4, 0, 0, 1, 3, 0, 4, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5})
	f.Add(byte(1), []byte("\x01\x00\x00\x04\x00\x00\x01\x03\x00\x01\x00\x00\x03\x03\x03"))
	f.Add(byte(2), []byte{1, 3, 0, 4, 0, 0, 1, 3, 0, 4, 0, 0})
	f.Add(byte(3), []byte{1, 3, 0, 4, 0, 0, 1, 3, 0, 4, 0, 0})
	f.Fuzz(func(t *testing.T, test byte, b []byte) {
		if len(b) > 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s := script(b)
			w := &wire{sent: map[netip.AddrPort]int{}, respond: func(r []byte, _ netip.AddrPort) []packet { return s.answers(r) }}
			p := &Prober{Open: w.open}
			start, most := time.Now(), 8*probeRequests
			switch test % 4 {
			case 0:
				b, err := p.Behaviour(t.Context(), serv1)
				if err == nil && (b.Mapping > EndpointDependent || b.Filtering == Unknown || len(b.Sightings) > 3) {
					t.Errorf("%+v", b)
				}
			case 1:
				_, _ = p.Hairpin(t.Context(), serv1)
			case 2:
				if got, err := p.Samples(t.Context(), []netip.AddrPort{serv1, serv2}, 4); (err == nil) != (len(got) > 0) {
					t.Errorf("%v, %v", got, err)
				}
			case 3:
				most = 2 * probeRequests * maxLifetimeTests
				l, err := p.Lifetime(t.Context(), serv1, LifetimeLimits{Within: 10 * time.Minute})
				if l.Min < 0 || l.Max != 0 && l.Max <= l.Min {
					t.Errorf("%+v, %v", l, err)
				}
			}
			if took := time.Since(start); took > 11*time.Minute {
				t.Errorf("took %v", took)
			}
			total := 0
			for to, n := range w.sent {
				if total += n; to.Addr().IsLoopback() {
					t.Errorf("sent to %v", to)
				}
			}
			if total > most {
				t.Errorf("sent %d packets: %v", total, w.sent)
			}
		})
	})
}

// FuzzDiscover feeds whole conversations of hostile answers into asking several servers on the shared socket.
func FuzzDiscover(f *testing.F) {
	f.Add([]byte{1, 3, 0, 4, 0, 9, 1, 3, 2, 4, 0, 9, 2, 3, 3, 4, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s, n := script(b), newInternet()
			servers := []netip.AddrPort{serv1, withPort(serv1, 3479), withPort(serv2, 3478)}
			for _, at := range servers {
				n.servers[at] = func(r []byte) []packet { return s.answers(r) }
			}
			r := n.Discover(t.Context(), servers)
			if len(r.Results)+len(r.Failures) != len(servers) || r.IPv4.Servers > 2 || len(n.pending) != 0 {
				t.Errorf("%+v, %d pending", r, len(n.pending))
			}
			for _, got := range r.Results {
				if !got.Mapped.IsValid() || got.Mapped.Port() == 0 {
					t.Errorf("%+v", got)
				}
			}
			if took := time.Since(n.start); took > defaultPatience {
				t.Errorf("took %v", took)
			}
			time.Sleep(time.Second) // late answers are on their way
		})
	})
}
