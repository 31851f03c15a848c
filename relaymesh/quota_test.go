package relaymesh

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

func peerNumber(n int) (p kcptransport.PeerID) {
	binary.BigEndian.PutUint32(p[:], uint32(n)+1)
	return p
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestQuotaRate(t *testing.T) {
	q := newQuota(IntroducerConfig{Rate: 1, Burst: 3}.withDefaults())
	now := epoch
	for range 3 {
		if code := q.request(now, peerNumber(1)); code != 0 {
			t.Fatalf("within the burst: %v", code)
		}
	}
	if code := q.request(now, peerNumber(1)); code != RefusedRate {
		t.Errorf("beyond the burst: %v", code)
	}
	if code := q.request(now, peerNumber(2)); code != 0 {
		t.Errorf("another peer: %v", code)
	}
	if code := q.request(now.Add(1100*time.Millisecond), peerNumber(1)); code != 0 {
		t.Errorf("a second later: %v", code)
	}
}

func TestQuotaConcurrency(t *testing.T) {
	q := newQuota(IntroducerConfig{PerPeer: 2, PerTarget: 3, Total: 4}.withDefaults())
	begin := func(from, to int, want RefuseCode) {
		t.Helper()
		if got := q.begin(epoch, peerNumber(from), peerNumber(to)); got != want {
			t.Fatalf("%d to %d: %v, want %v", from, to, got, want)
		}
	}
	begin(1, 10, 0)
	begin(1, 10, 0)
	begin(1, 11, RefusedBusy) // PerPeer
	begin(2, 10, 0)
	begin(3, 10, RefusedBusy) // PerTarget
	begin(3, 11, 0)
	begin(4, 12, RefusedBusy) // Total
	q.end(peerNumber(1), peerNumber(10))
	begin(3, 10, 0)
}

func TestQuotaMemoryIsBounded(t *testing.T) {
	q := newQuota(IntroducerConfig{}.withDefaults())
	for n := range 2 * maxQuotaPeers {
		q.request(epoch, peerNumber(n))
	}
	if len(q.peers) > maxQuotaPeers {
		t.Errorf("%d accounts, want at most %d", len(q.peers), maxQuotaPeers)
	}
	if code := q.request(epoch, peerNumber(3*maxQuotaPeers)); code != RefusedBusy {
		t.Errorf("with all accounts in use: %v", code)
	}
	if code := q.request(epoch.Add(time.Hour), peerNumber(3*maxQuotaPeers)); code != 0 {
		t.Errorf("an hour later: %v", code)
	}
}
