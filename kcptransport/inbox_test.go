package kcptransport

import (
	"sync/atomic"
	"testing"
)

// Loops that do not keep up leave room for those that do, however many they are.
func TestInboxShares(t *testing.T) {
	for _, flooded := range []int{1, 4, 10, 100} {
		var budget atomic.Int64
		var boxes []*inbox[int]
		flood := func(b *inbox[int], n int) int {
			var list packetList
			for range n {
				list.push(newInPacket())
			}
			before := b.packets.n
			b.deliver(&list)
			return b.packets.n - before
		}
		for range flooded {
			boxes = append(boxes, newInbox[int](&budget, maxQueuedPackets))
		}
		for range max(maxAllPackets/readBatchLen*2/flooded, 1) {
			for _, b := range boxes {
				flood(b, readBatchLen)
			}
		}
		all := budget.Load()
		if all > maxAllPackets {
			t.Errorf("%d flooded loops hold %d packets", flooded, all)
		}
		fair := min(readBatchLen, maxAllPackets/2/(flooded+1))
		got := flood(newInbox[int](&budget, maxQueuedPackets), readBatchLen)
		t.Logf("%d flooded loops hold %d packets, the next one may have %d", flooded, all, got)
		if got < max(fair, 4) {
			t.Errorf("beside %d flooded loops the next one gets %d packets of %d", flooded, got, readBatchLen)
		}
		for _, b := range boxes {
			b.close()
		}
	}
}
