package kcptransport

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Of every first byte and of every length up to a full Ethernet frame, in the form of a first message or as garbage, busy
// or not: no address gets more bytes than came from it. (STUN packets go to Config.OnSTUN; package stunclient tells what its
// answers measure.)
func TestGarbageIsNotAmplified(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(seeded(4))
			conn, first := strangersView(t)
			if busy {
				for n := range int(2 * loadOn) {
					conn.in <- spoofed(n, first[:firstSize])
				}
				conn.take()
			}
			kinds := []byte{typeIK1, typeIK2, typeXX1, typeXX2, typeXX3, typeCookie, typeReject, typeCookied, typeData, typeRelayed, 0, 1, 0x16, 0x80, 0xFF}
			answers := 0
			for n := range 1500 * len(kinds) {
				size := n/len(kinds) + 1
				b := bytes.Clone(first[:size])
				switch n % 3 {
				case 0: // of another version, which is told so
					b[min(1, size-1)] ^= byte(1 + random.IntN(255))
				case 1:
					for at := 11; at < size; at++ {
						b[at] = byte(random.Uint32())
					}
				}
				b[0] = kinds[n%len(kinds)]
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 9)
				sum, count := conn.answersTo(t, fakePacket{b, from})
				if answers += count; sum > size {
					t.Errorf("%d bytes of type %#x are answered with %d", size, b[0], sum)
				}
				if !busy {
					time.Sleep(time.Second / rejectsPerSecond) // so that nothing is withheld because it is too much
				}
			}
			if answers == 0 || !busy && answers < 100 { // who is busy asks good first messages for a proof, and says no more
				t.Errorf("only %d packets were answered: the test tests nothing", answers)
			}
		})
	}
}
