package kcptransport

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// What was added is known for a second at least and two at most, and little else is.
func TestSightings(t *testing.T) {
	random := rand.New(seeded(1))
	var s sightings
	at := testStart
	mistakes, strangers := 0, 0
	for range 10 * 20_000 { // for 10 s, as a flood
		at = at.Add(time.Second / 20_000)
		strangers++
		if s.add(at, random.Uint64()) {
			mistakes++
		}
	}
	if mistakes*100 > 4*strangers {
		t.Errorf("%d of %d strangers are taken for known", mistakes, strangers)
	}
	for _, tt := range []struct {
		pause time.Duration
		want  bool
	}{{0, true}, {sightingSpan, true}, {2 * sightingSpan, false}, {time.Hour, false}} {
		s := sightings{since: testStart}
		s.add(testStart.Add(time.Second), 7<<32+5)
		if got := s.add(testStart.Add(time.Second+tt.pause), 7<<32+5); got != tt.want {
			t.Errorf("%v later it is known: %v", tt.pause, got)
		}
	}
}

// One network gets half of a budget at once, the next half of what is left, and whoever comes then something.
func TestShares(t *testing.T) {
	s := shares{rate: 1000, burst: 400}
	random := rand.New(seeded(1))
	key := hashKey{random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64()}
	take := func(at time.Time, network uint64, count int) (got int) {
		for range count {
			if s.take(at, key, 0, network) {
				got++
			}
		}
		return got
	}
	if got := take(testStart, 1, 1000); got != 200 {
		t.Errorf("one network got %d of 400 at once", got)
	}
	if got := take(testStart, 2, 1000); got != 100 {
		t.Errorf("the next got %d of the 200 that were left", got)
	}
	for _, after := range []time.Duration{100 * time.Millisecond, time.Minute} {
		take(testStart.Add(after), 1, 1000)
		if take(testStart.Add(after), 3, 1) != 1 {
			t.Errorf("after %v of a flood from one network another gets nothing", after)
		}
	}
	total := 0
	for i := range 10_000 {
		total += take(testStart.Add(2*time.Minute+time.Duration(i)*time.Millisecond), uint64(i), 10)
	}
	if total > 10*1000+400 {
		t.Errorf("all networks got %d in 10 s", total)
	}
}

// An address of a network of its own counts for that, whichever family it has.
func TestNetworkOf(t *testing.T) {
	network := func(s string) [2]uint64 {
		a := netip.MustParseAddr(s)
		hi, lo := halves(a)
		hi, lo = networkOf(a, hi, lo)
		return [2]uint64{hi, lo}
	}
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.255", true}, {"192.0.2.1", "192.0.3.1", false}, {"192.0.2.1", "::ffff:192.0.2.9", true},
		{"2001:db8:1::1", "2001:db8:1:ffff::2", true}, {"2001:db8:1::1", "2001:db8:2::1", false},
	} {
		if same := network(tt.a) == network(tt.b); same != tt.same {
			t.Errorf("%s and %s are in one network: %v", tt.a, tt.b, same)
		}
	}
}

// floodOf makes first messages of a flood: number n comes from its address. Times are those of 20,000 a second.
type floodOf struct {
	name  string
	from  func(random *rand.Rand, n int) netip.AddrPort
	worst time.Duration // until who means well is asked for a proof
	sent  int           // cookies a second at most, with what is sent at once at the beginning
}

func anyAddr(x uint32, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, x))), port)
}

// floods of 20,000 a second, the worst that they may do, and what we may send for them.
var floods = []floodOf{
	{"of new addresses", func(random *rand.Rand, n int) netip.AddrPort {
		return anyAddr(random.Uint32(), uint16(n))
	}, 300 * time.Millisecond, 2000},
	{"of addresses that come again after a quarter of a second", func(_ *rand.Rand, n int) netip.AddrPort {
		return anyAddr(uint32(n/10_000*5000+n%5000)*2654435761, 7)
	}, 300 * time.Millisecond, 22_000},
	{"of the same 5,000 addresses all the time", func(_ *rand.Rand, n int) netip.AddrPort {
		return anyAddr(uint32(n%5000)*2654435761, 7)
	}, 300 * time.Millisecond, 22_000},
	{"from a few networks", func(random *rand.Rand, n int) netip.AddrPort {
		return anyAddr(10<<24+random.Uint32N(8<<8), 7)
	}, 300 * time.Millisecond, 22_000},
	{"of one address", func(*rand.Rand, int) netip.AddrPort { return anyAddr(10<<24, 7) }, 300 * time.Millisecond, 2 * knownBurst},
}

// During a flood of whatever kind, who means well is asked for a proof at once or when it repeats itself.
func TestGateInFlood(t *testing.T) {
	i, err := newInitiator(testConfig(1), PeerID{}, 7, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	seeds := 100
	if raceEnabled || testing.Short() {
		seeds = 10
	}
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			var waits []time.Duration
			sent := 0.0
			for seed := range seeds {
				wait, perSecond := waitInFlood(f, byte(seed), i.first())
				waits, sent = append(waits, wait), max(sent, perSecond)
			}
			slices.Sort(waits)
			t.Logf("a proof is asked for after %v (median) and %v (worst); %.0f cookies a second", waits[seeds/2], waits[seeds-1], sent)
			if worst := waits[seeds-1]; worst > f.worst {
				t.Errorf("one is asked for a proof after %v, want %v", worst, f.worst)
			}
			if sent > float64(f.sent) {
				t.Errorf("%.0f cookies a second, want at most %d", sent, f.sent)
			}
		})
	}
}

// waitInFlood returns how long a dialler waits for the cookie, and how many were sent a second meanwhile.
func waitInFlood(f floodOf, seed byte, first []byte) (wait time.Duration, perSecond float64) {
	random := rand.New(seeded(seed))
	g := newGate(testConfig(2), seeded(seed))
	p := newInPacket()
	defer p.release()
	asks := func(now time.Time, from netip.AddrPort) bool {
		p.n, p.from, p.asks = copy(p.buf[:], first), from, false
		g.admit(now, p)
		return p.asks
	}
	self := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, seed}), 7337)
	began := testStart.Add(700*time.Millisecond + time.Duration(random.Uint64N(uint64(time.Second))))
	next, tries, count := began, 0, 0
	for n := 0; ; n++ {
		now := testStart.Add(time.Duration(n) * time.Second / 20_000)
		if asks(now, f.from(random, n)) {
			count++
		}
		if now.Before(next) {
			continue
		}
		if asks(now, self) || tries == 10 {
			return now.Sub(began), float64(count) / now.Sub(testStart).Seconds()
		}
		pause := min(dialRetry<<tries, maxDialRetry)
		next, tries = now.Add(pause-pause/8+time.Duration(random.Uint64N(uint64(pause/4)))), tries+1
	}
}

// crowdedConn is a socket at which strangers come beside those who are there.
type crowdedConn struct {
	PacketConn
	in     chan []fakePacket // at most 20 at once
	closed chan struct{}
}

func (c *crowdedConn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	select {
	case list := <-c.in:
		for i, p := range list {
			sizes[i], addrs[i] = copy(bufs[i], p.b), p.from
		}
		return len(list), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *crowdedConn) put(list ...fakePacket) bool {
	select {
	case c.in <- list:
		return true
	case <-c.closed:
		return false
	}
}

// pass lets those in who are there.
func (c *crowdedConn) pass() {
	buf, sizes, addrs := make([]byte, packetBufSize), make([]int, 1), make([]netip.AddrPort, 1)
	for {
		if _, err := c.PacketConn.ReadBatch([][]byte{buf}, sizes, addrs); err != nil || !c.put(fakePacket{bytes.Clone(buf[:sizes[0]]), addrs[0]}) {
			return
		}
	}
}

// flood has 20,000 strangers come in each second. The first make no sense: that is load as well, and costs the test no arithmetic.
func (c *crowdedConn) flood(seed byte, noise []byte) {
	random := rand.New(seeded(seed))
	for n := 0; ; n += 20 {
		<-time.After(time.Millisecond)
		var list []fakePacket
		first := noise
		if n < int(loadOn) {
			first = noise[:firstHeaderSize]
		}
		for range 20 {
			list = append(list, fakePacket{first, anyAddr(10<<24+random.Uint32N(1<<24), uint16(random.Uint32())|1)})
		}
		if !c.put(list...) {
			return
		}
	}
}

// WriteBatch loses what goes to strangers.
func (c *crowdedConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	for i, b := range bufs {
		if addrs[i].Addr().As4()[0] != 10 {
			_, _ = c.PacketConn.WriteBatch([][]byte{b}, addrs[i:i+1])
		}
	}
	return len(bufs), nil
}

func (c *crowdedConn) Close() error {
	close(c.closed)
	return c.PacketConn.Close()
}

// A dial gets its link during a flood of 20,000 forged first messages a second, soon.
func TestDialInFlood(t *testing.T) {
	i, err := newInitiator(testConfig(3), PeerID{}, 7, says(testHello(3)))
	if err != nil {
		t.Fatal(err)
	}
	noise := bytes.Clone(i.first())
	copy(noise[7:], first4(appTag("test")))
	seeds := 100
	if raceEnabled || testing.Short() {
		seeds = 10
	}
	var took []time.Duration
	for seed := range seeds {
		inSeededWorld(t, uint64(seed), 50*time.Millisecond, func(w *world) {
			w.link.Loss = 0.01
			a := w.node(1)
			host := w.net.NewHost("02", w.net.Internet(), netsim.Link{Delay: w.link.Delay}, nodeAddr(2, 0))
			socket, err := host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 7337))
			if err != nil {
				w.Fatal(err)
			}
			conn := &crowdedConn{socket, make(chan []fakePacket), make(chan struct{})}
			b, err := Listen(Config{Conn: conn, Identity: testIdentity(2), App: "test", Rand: seeded(2)})
			if err != nil {
				w.Fatal(err)
			}
			defer b.Close()
			go conn.pass()
			go conn.flood(byte(seed), noise)
			w.sleep(60*time.Millisecond + time.Duration(seed)*1700*time.Microsecond)
			start := time.Now()
			if _, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{netip.AddrPortFrom(nodeAddr(2, 0), 7337)}}); err != nil {
				w.Fatal(err)
			}
			took = append(took, time.Since(start))
		})
	}
	slices.Sort(took)
	t.Logf("dialling took %v (median) and %v (worst of %d)", took[seeds/2], took[seeds-1], seeds)
	if worst := took[seeds-1]; worst > 2*time.Second {
		t.Errorf("dialling took %v", worst)
	}
}

// A gate's secrets are those of one start of one node: a simulation repeats, and a restart begins anew.
func TestGateSecrets(t *testing.T) {
	read := func(n byte, boot uint32) (b [64]byte) {
		if _, err := io.ReadFull(gateSecrets(testIdentity(n), boot), b[:]); err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, again := read(1, 7), read(1, 7)
	if one != again {
		t.Error("the same start of the same node has other secrets")
	}
	if one == read(1, 8) || one == read(2, 7) {
		t.Error("another start, or another node, has the same secrets")
	}
}
