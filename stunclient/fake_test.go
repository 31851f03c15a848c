package stunclient

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	local  = addr("0.0.0.0:7337")
	mapped = addr("203.0.113.7:40000")
	serv1  = addr("192.0.2.1:3478")
	serv2  = addr("192.0.2.2:3478")
	serv6  = addr("[2001:db8::1]:3478")
)

// server answers a request that the client sent. It may answer never, or several times.
type server func(request []byte) []packet

// packet is an answer on its way to the client.
type packet struct {
	payload []byte
	from    netip.AddrPort
	delay   time.Duration
}

// sentRequest is what the client sent, and when.
type sentRequest struct {
	to    netip.AddrPort
	bytes string
	at    time.Duration // since the internet was made
}

// internet is a client and the servers it can reach, in the time of a synctest bubble.
type internet struct {
	*Client
	servers map[netip.AddrPort]server
	start   time.Time

	mu   sync.Mutex
	sent []sentRequest
	fail []error // of the next sends
}

func newInternet() *internet {
	n := &internet{Client: &Client{Local: local}, servers: make(map[netip.AddrPort]server), start: time.Now()}
	n.Send = n.deliver
	return n
}

func (n *internet) deliver(b []byte, to netip.AddrPort) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, sentRequest{to, string(b), time.Since(n.start)})
	if len(n.fail) > 0 {
		err := n.fail[0]
		if n.fail = n.fail[1:]; err != nil {
			return err
		}
	}
	if s := n.servers[to]; s != nil {
		for _, p := range s([]byte(string(b))) {
			time.AfterFunc(p.delay, func() { n.Handle(p.payload, p.from) })
		}
	}
	return nil
}

// serve puts an honest server at at, delay away, who sees the client at as.
func (n *internet) serve(at netip.AddrPort, as netip.AddrPort, delay time.Duration) {
	n.servers[at] = func(request []byte) []packet {
		return []packet{{Respond(request, as), at, delay}}
	}
}

// times returns when requests were sent to a server.
func (n *internet) times(to netip.AddrPort) (at []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sent {
		if s.to == to {
			at = append(at, s.at)
		}
	}
	return at
}

// build makes a message with the transaction ID of a request.
func build(request []byte, setters ...stun.Setter) []byte {
	id := stun.NewTransactionIDSetter(idOf(request))
	return stun.MustBuild(append([]stun.Setter{setters[0], id}, setters[1:]...)...).Raw
}

func xorMapped(a netip.AddrPort) *stun.XORMappedAddress {
	return &stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}
