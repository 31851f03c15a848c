package kcptransport

import (
	"testing"
	"time"
)

// movedTable gives a table whose peer has just come up on path 2 with a packet of a size, and been asked.
func movedTable(t *testing.T, size int) *tableTest {
	tt := establishedTable(t)
	tt.heard(tt.now, testPath(2), true, size)
	tt.wantProbes(testPath(1), testPath(2))
	return tt
}

// What decides on a move is asked twice, so that one lost packet does not make it wait for two round trips.
func TestPathTableRepeatsProbe(t *testing.T) {
	tt := movedTable(t, 1232)
	first := tt.probe[1]
	tt.pass(twinPause - 1)
	tt.wantProbes()
	tt.pass(1)
	if len(tt.probe) != 1 || tt.probe[0].path != testPath(2) || !tt.probe[0].padded || tt.probe[0].token == first.token {
		t.Fatalf("repeated: %+v", tt.probe)
	}
	tt.reply(0) // either of the two will do
	tt.step()
	tt.pass(60 * time.Millisecond)
	tt.wantInUse(testPath(2))
}

// A path that answers at once is asked once.
func TestPathTableRepeatsNoAnsweredProbe(t *testing.T) {
	tt := movedTable(t, 1232)
	tt.reply(1)
	tt.pass(twinPause)
	tt.wantProbes()
}

// The repetition, too, is part of what may be sent to an address that proved nothing.
func TestPathTableRepeatsWithinAmplification(t *testing.T) {
	tt := movedTable(t, 600) // room for one probe of full size, not for two
	sent := 0
	for _, o := range tt.probe {
		if o.path == testPath(2) {
			sent += 1232
			tt.sent(tt.now, o.path, true, 1232)
		}
	}
	tt.pass(twinPause)
	for _, o := range tt.probe {
		if o.path == testPath(2) && o.padded && sent+1232 > amplification*600 {
			t.Errorf("%d bytes were sent for 600", sent+1232)
		}
	}
}

// After a flow that breaks off the path is asked twice, after a few packets once, and not again when something has come.
func TestPathTableTailProbeRepeats(t *testing.T) {
	for _, test := range []struct {
		packets int
		heard   bool
		want    int
	}{{flowPackets, false, 2}, {flowPackets, true, 1}, {flowPackets - 1, false, 1}} {
		tt := establishedTable(t)
		tt.pass(time.Second)
		tt.burstLen = 0
		for range test.packets {
			tt.heard(tt.now, testPath(1), true, 300)
			tt.pass(5 * time.Millisecond)
		}
		tt.pass(minTailWait - 5*time.Millisecond)
		tt.step()
		if test.heard {
			tt.heard(tt.now, testPath(1), false, 100)
		}
		tt.pass(twinPause)
		tt.step()
		if probes := tt.waiting(testPath(1)); probes != test.want {
			t.Errorf("%d packets, heard %v: %d probes, want %d", test.packets, test.heard, probes, test.want)
		}
	}
}

// waiting returns how many probes of a path wait for an answer.
func (tt *tableTest) waiting(p Path) (n int) {
	for _, o := range tt.probes.waiting {
		if o.path == p {
			n++
		}
	}
	return n
}
