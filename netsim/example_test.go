package netsim_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim" //nolint:depguard // an example is written as its readers would
)

// A host behind a NAT asks a server which address it is seen with.
func Example() {
	n := netsim.New(netsim.Config{Seed: 1})
	defer n.Close()

	home := n.NewSegment("home")
	n.NewRouter("router", netsim.RouterConfig{
		Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
		Inside: home, NAT: netsim.Presets["port-restricted"],
	})
	alice := n.NewHost("alice", home, netsim.Link{Delay: time.Millisecond}, netip.MustParseAddr("192.168.1.2"))
	server := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))

	a, _ := alice.ListenUDP(netip.MustParseAddrPort("0.0.0.0:7337"))
	s, _ := server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:3478"))
	a.WriteToUDPAddrPort([]byte("who am I?"), netip.MustParseAddrPort("203.0.113.1:3478"))

	b := make([]byte, 100)
	size, from, _ := s.ReadFromUDPAddrPort(b)
	fmt.Printf("%s, says %s\n", b[:size], from)
	// Output: who am I?, says 198.51.100.1:7337
}

// Bob's NAT lets in only those whom Bob has written to. So each of the two writes
// to the other, which opens the way: the first packet is lost, the second is not.
func ExampleNAT() {
	n := netsim.New(netsim.Config{Seed: 1})
	defer n.Close()
	peer := func(name, public string) *netsim.Conn {
		home := n.NewSegment(name + "'s home")
		n.NewRouter(name+"'s router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr(public)},
			Inside: home, NAT: netsim.NAT{Filtering: netsim.AddressAndPortDependent},
		})
		h := n.NewHost(name, home, netsim.Link{}, netip.MustParseAddr("192.168.1.2"))
		c, _ := h.ListenUDP(netip.MustParseAddrPort("[::]:7337"))
		return c
	}
	alice, bob := peer("alice", "198.51.100.1"), peer("bob", "203.0.113.1")

	alice.WriteToUDPAddrPort([]byte("opens my side"), netip.MustParseAddrPort("203.0.113.1:7337"))
	bob.WriteToUDPAddrPort([]byte("hello Alice"), netip.MustParseAddrPort("198.51.100.1:7337"))

	b := make([]byte, 100)
	size, from, _ := alice.ReadFromUDPAddrPort(b)
	fmt.Printf("%s, says %s\n", b[:size], from)
	// Output: hello Alice, says 203.0.113.1:7337
}

// A link that loses a tenth of all packets, four in a row on average. The same seed
// loses the same packets.
func ExampleLink() {
	synctest.Test(&testing.T{}, func(*testing.T) { // a test passes its own t
		n := netsim.New(netsim.Config{Seed: 1})
		link := netsim.Link{Delay: 20 * time.Millisecond, Rate: 10_000_000, Loss: 0.1, Burst: 4}
		a := n.NewHost("a", n.Internet(), link, netip.MustParseAddr("198.51.100.1"))
		b := n.NewHost("b", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))
		from, _ := a.ListenUDP(netip.MustParseAddrPort("0.0.0.0:1"))
		_, _ = b.ListenUDP(netip.MustParseAddrPort("0.0.0.0:1"))

		for range 2000 {
			from.WriteToUDPAddrPort(make([]byte, 1000), netip.MustParseAddrPort("203.0.113.1:1"))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		s := n.Stats()
		fmt.Println(s.Sent, "sent,", s.Delivered, "delivered, dropped:", s.Dropped)
		fmt.Println("does it add up?", n.Close() == nil)
	})
	// Output:
	// 2000 sent, 1785 delivered, dropped: map[loss:215]
	// does it add up? true
}

// An hour of keepalives takes no time, and an idle mapping of a NAT is gone when the
// hour is over.
func Example_virtualTime() {
	synctest.Test(&testing.T{}, func(*testing.T) { // a test passes its own t
		n := netsim.New(netsim.Config{Seed: 1})
		defer n.Close()
		home := n.NewSegment("home")
		n.NewRouter("router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
			Inside: home, NAT: netsim.NAT{Timeout: 5 * time.Minute},
		})
		alice := n.NewHost("alice", home, netsim.Link{}, netip.MustParseAddr("192.168.1.2"))
		server := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))
		a, _ := alice.ListenUDP(netip.MustParseAddrPort("0.0.0.0:7337"))
		s, _ := server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:3478"))

		ask := func(after time.Duration) {
			time.Sleep(after)
			s.WriteToUDPAddrPort([]byte("still there?"), netip.MustParseAddrPort("198.51.100.1:7337"))
			a.SetReadDeadline(time.Now().Add(time.Second))
			_, _, err := a.ReadFromUDPAddrPort(make([]byte, 100))
			fmt.Println("after", after, "without a packet:", err == nil)
		}
		start := time.Now()
		for range 60 {
			a.WriteToUDPAddrPort([]byte("keepalive"), netip.MustParseAddrPort("203.0.113.1:3478"))
			time.Sleep(time.Minute)
		}
		fmt.Println("keepalives for", time.Since(start))
		ask(3 * time.Minute)
		ask(3 * time.Minute)
	})
	// Output:
	// keepalives for 1h0m0s
	// after 3m0s without a packet: true
	// after 3m0s without a packet: false
}

// Programs over TCP run as they are: here net/http, through a router that lets no UDP
// through.
func ExampleHost_DialContext() {
	synctest.Test(&testing.T{}, func(*testing.T) { // a test passes its own t
		n := netsim.New(netsim.Config{Seed: 1})
		defer n.Close()
		office := n.NewSegment("office")
		n.NewRouter("router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
			Inside: office, NAT: netsim.Presets["udp-blocked"],
		})
		alice := n.NewHost("alice", office, netsim.Link{Delay: 20 * time.Millisecond}, netip.MustParseAddr("192.168.1.2"))
		server := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))

		l, _ := server.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"))
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "hello ", r.RemoteAddr)
		})}
		go srv.Serve(l)
		defer srv.Close()

		tr := &http.Transport{DialContext: alice.DialContext}
		defer tr.CloseIdleConnections()
		start := time.Now()
		resp, err := (&http.Client{Transport: tr}).Get("http://203.0.113.1/")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		fmt.Printf("%s, after %v", b, time.Since(start).Round(time.Millisecond))
	})
	// Output: hello 198.51.100.1:32768, after 80ms
}

// A laptop sleeps for an hour. What comes meanwhile waits in the buffers of its
// sockets, unless its network was away as well.
func ExampleHost_Pause() {
	synctest.Test(&testing.T{}, func(*testing.T) { // a test passes its own t
		n := netsim.New(netsim.Config{Seed: 1})
		defer n.Close()
		laptop := n.NewHost("laptop", n.Internet(), netsim.Link{}, netip.MustParseAddr("198.51.100.1"))
		server := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))
		l, _ := laptop.ListenUDP(netip.MustParseAddrPort("0.0.0.0:1"))
		s, _ := server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:1"))

		laptop.Pause()
		time.AfterFunc(time.Hour, laptop.Resume)
		s.WriteToUDPAddrPort([]byte("good night"), netip.MustParseAddrPort("198.51.100.1:1"))

		start, b := time.Now(), make([]byte, 100)
		size, _, _ := l.ReadFromUDPAddrPort(b)
		fmt.Printf("%s, read after %v\n", b[:size], time.Since(start).Round(time.Second))
	})
	// Output: good night, read after 1h0m0s
}

// Everything that passes a router, on both sides, in a file for Wireshark.
func ExampleRouter_Capture() {
	f, err := os.CreateTemp("", "router-*.pcapng")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()

	n := netsim.New(netsim.Config{Seed: 1})
	home := n.NewSegment("home")
	router := n.NewRouter("router", netsim.RouterConfig{Outside: n.Internet(), Inside: home})
	router.Capture(f)
	// hosts and sockets, and what they do
	if err := n.Close(); err != nil {
		log.Fatal(err)
	}
	_, _ = f.Seek(0, io.SeekStart)
	magic := make([]byte, 4)
	_, _ = io.ReadFull(f, magic)
	fmt.Printf("% x", magic)
	// Output: 0a 0d 0d 0a
}
