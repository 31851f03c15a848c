//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	internetHops  = 4    // routers a packet passes on its way through the internet
	internetQueue = 8192 // packets on their way to one device; more are lost
)

// weather is what the internet does to packets, each way.
type weather struct {
	delay time.Duration
	loss  float64 // 0 to 1
}

// internet carries IPv4 packets between the TUN devices plugged into it. It
// keeps the order of packets to one device. Methods may be called by any
// goroutine.
type internet struct {
	weather
	wg sync.WaitGroup

	mu      sync.Mutex
	rand    *rand.Rand
	devices []*device
	routes  map[netip.Addr]*device

	carried, lost, unroutable, overflow atomic.Uint64
}

// device is a TUN device. Its namespace may be another one than the caller's:
// the descriptor works from anywhere.
type device struct {
	file  *os.File
	queue chan parcel
	done  chan struct{}
}

type parcel struct {
	due    time.Time
	packet []byte
}

func newInternet(w weather, seed uint64) *internet {
	return &internet{weather: w, rand: rand.New(rand.NewPCG(seed, 1)), routes: map[netip.Addr]*device{}}
}

// plug makes a TUN device of that name inside a namespace, to which packets for
// addrs are carried. Giving the device its addresses is left to the caller.
func (n *internet) plug(s *space, name string, addrs ...netip.Addr) error {
	var d *device
	err := s.do(func() (err error) {
		d, err = openTUN(name)
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: open TUN %s in %s: %w", name, s.name, err)
	}
	n.mu.Lock()
	n.devices = append(n.devices, d)
	for _, a := range addrs {
		n.routes[a] = d
	}
	n.mu.Unlock()
	n.wg.Go(func() { n.collect(d) })
	n.wg.Go(d.deliver)
	return nil
}

// openTUN makes a TUN device in the namespace of the calling thread.
func openTUN(name string) (*device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Only now: a descriptor without a device cannot be waited for.
	return &device{file: os.NewFile(uintptr(fd), "tun "+name), queue: make(chan parcel, internetQueue), done: make(chan struct{})}, nil
}

// collect takes what a device sends until it is closed.
func (n *internet) collect(d *device) {
	buf := make([]byte, 65536)
	for {
		size, err := d.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // the device is down, not yet or no more up
		}
		n.carry(append([]byte(nil), buf[:size]...))
	}
}

// carry decides about one packet: lost, or queued to arrive after the delay.
func (n *internet) carry(packet []byte) {
	to, ok := destination(packet)
	n.mu.Lock()
	d := n.routes[to]
	lost := n.loss > 0 && n.rand.Float64() < n.loss
	n.mu.Unlock()
	switch {
	case !ok || d == nil || !travel(packet, internetHops):
		n.unroutable.Add(1)
	case lost:
		n.lost.Add(1)
	default:
		select {
		case d.queue <- parcel{time.Now().Add(n.delay), packet}:
			n.carried.Add(1)
		default:
			n.overflow.Add(1)
		}
	}
}

// deliver hands packets to the device when they are due.
func (d *device) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var p parcel
		select {
		case p = <-d.queue:
		case <-d.done:
			return
		}
		if wait := time.Until(p.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-d.done:
				return
			}
		}
		_, _ = d.file.Write(p.packet) // a device that is down loses packets
	}
}

// destination returns where an IPv4 packet goes.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// travel takes hops off the packet's time to live and reports whether it is
// still alive. The checksum is corrected as in RFC 1624 section 3.
func travel(packet []byte, hops uint8) bool {
	if packet[8] <= hops {
		return false
	}
	old := uint32(binary.BigEndian.Uint16(packet[8:10]))
	packet[8] -= hops
	sum := uint32(^binary.BigEndian.Uint16(packet[10:12])) + (^old & 0xffff) + uint32(binary.BigEndian.Uint16(packet[8:10]))
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(packet[10:12], ^uint16(sum))
	return true
}

// close takes all devices down and waits for the goroutines.
func (n *internet) close() {
	n.mu.Lock()
	devices := n.devices
	n.devices = nil
	n.mu.Unlock()
	for _, d := range devices {
		close(d.done)
		d.file.Close()
	}
	n.wg.Wait()
}

func (n *internet) String() string {
	return fmt.Sprintf("internet: %d packets carried, %d lost, %d without a way, %d over the queue's limit",
		n.carried.Load(), n.lost.Load(), n.unroutable.Load(), n.overflow.Load())
}
