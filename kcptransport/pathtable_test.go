package kcptransport

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tableTest drives a pathTable through its own time.
type tableTest struct {
	*testing.T
	*pathTable
	now   time.Time
	probe []outProbe // of the last step
}

func newTableTest(t *testing.T) *tableTest {
	var token uint64
	return &tableTest{
		T:         t,
		pathTable: newPathTable(testStart, 25*time.Second, 1232, func() uint64 { token++; return token }),
		now:       testStart,
	}
}

// established gives a table with path 1 in use, measured at 40 ms.
func establishedTable(t *testing.T) *tableTest {
	tt := newTableTest(t)
	tt.handshaken(tt.now, testPath(1), 0, netip.AddrPort{})
	tt.wantProbes(testPath(1))
	tt.pass(40 * time.Millisecond)
	tt.reply(0)
	tt.wantProbes()
	tt.wantInUse(testPath(1))
	return tt
}

func (tt *tableTest) step() {
	tt.probe = append([]outProbe(nil), tt.pathTable.step(tt.now)...)
}

// pass lets time go by, taking the steps that the table asks for.
func (tt *tableTest) pass(d time.Duration) {
	tt.Helper()
	end := tt.now.Add(d)
	for i := 0; ; i++ {
		at := tt.next()
		if at.IsZero() || at.After(end) {
			break
		}
		if i == 1000 {
			tt.Fatalf("the table asks for %v again and again", at)
		}
		if at.After(tt.now) {
			tt.now = at
		}
		tt.step()
	}
	tt.now = end
}

// wantProbes takes a step and checks where probes go.
func (tt *tableTest) wantProbes(paths ...Path) {
	tt.Helper()
	tt.step()
	var got []Path
	for _, p := range tt.probe {
		got = append(got, p.path)
	}
	if len(got) != len(paths) {
		tt.Fatalf("probes to %v, want %v", got, paths)
	}
	for i := range got {
		if got[i] != paths[i] {
			tt.Fatalf("probes to %v, want %v", got, paths)
		}
	}
}

// reply answers probe i of the last step.
func (tt *tableTest) reply(i int) {
	tt.Helper()
	tt.replyTo(tt.probe[i])
}

func (tt *tableTest) replyTo(p outProbe) {
	tt.heard(tt.now, p.path, false, 1232)
	tt.answered(tt.now, p.path, p.token, netip.MustParseAddrPort("203.0.113.9:5"), 1232)
}

func (tt *tableTest) wantInUse(p Path) {
	tt.Helper()
	if got, _ := tt.current(); got != p {
		tt.Fatalf("path in use is %v, want %v", got, p)
	}
}

func TestPathTableHandshake(t *testing.T) {
	tt := establishedTable(t)
	info := tt.infos()[0]
	if !info.InUse || info.State != PathValidated || info.RTT != 40*time.Millisecond || info.Observed.Port() != 5 {
		t.Errorf("path is %+v", info)
	}
}

// A packet from an unknown source is no reason to send there, only to ask.
func TestPathTableRedirectedPacket(t *testing.T) {
	tt := establishedTable(t)
	tt.heard(tt.now, testPath(2), true, 1232)
	tt.wantProbes(testPath(1), testPath(2))
	if !tt.probe[0].padded || !tt.probe[1].padded {
		t.Error("not both probes have data size: the old path may have become one that does not carry it")
	}
	old := tt.probe[0]
	tt.pass(40 * time.Millisecond)
	tt.replyTo(old)
	tt.pass(10 * time.Second)
	tt.wantInUse(testPath(1))
	if len(tt.paths) != 1 {
		t.Errorf("the path that never answered is still there: %v", tt.infos())
	}
}

// The peer moved: its old address is silent, the new one answers.
func TestPathTablePeerMoves(t *testing.T) {
	tt := establishedTable(t)
	tt.heard(tt.now, testPath(2), true, 1232)
	tt.wantProbes(testPath(1), testPath(2))
	there := tt.probe[1]
	tt.pass(40 * time.Millisecond)
	tt.replyTo(there)
	tt.step()
	tt.wantInUse(testPath(1))
	tt.pass(20 * time.Millisecond)
	tt.wantInUse(testPath(2))
	tt.pass(time.Minute)
	if len(tt.paths) != 1 {
		t.Errorf("the path that went silent is still there: %v", tt.infos())
	}
}

// An answer counts only on the path that was asked, and only once.
func TestPathTableAnswerElsewhere(t *testing.T) {
	tt := establishedTable(t)
	o := tt.pathTable.probe(tt.now, testPath(3), 0)
	tt.answered(tt.now, testPath(4), o.token, netip.AddrPort{}, 1232)
	tt.answered(tt.now, testPath(3), o.token+1, netip.AddrPort{}, 1232)
	if tt.find(testPath(3)) != nil || tt.find(testPath(4)) != nil {
		t.Fatal("a wrong answer validated a path")
	}
	tt.answered(tt.now, testPath(3), o.token, netip.AddrPort{}, 1232)
	if e := tt.find(testPath(3)); e == nil || e.validated.IsZero() {
		t.Fatal("the right answer did not validate the path")
	}
	tt.pass(probeExpiry)
	o = tt.pathTable.probe(tt.now, testPath(5), 0)
	tt.pass(probeExpiry)
	tt.answered(tt.now, testPath(5), o.token, netip.AddrPort{}, 1232)
	if tt.find(testPath(5)) != nil {
		t.Error("an answer after ten seconds counted")
	}
}

// The answer to a small probe shows where the peer is, not that data gets through.
func TestPathTableSmallProbe(t *testing.T) {
	tt := establishedTable(t)
	o := tt.pathTable.probe(tt.now, testPath(2), 5)
	tt.answered(tt.now, testPath(2), o.token, netip.AddrPort{}, 1232)
	if e := tt.find(testPath(2)); e == nil || !e.validated.IsZero() {
		t.Fatal("path 2 should be there and not validated")
	}
	tt.wantProbes(testPath(2))
	if !tt.probe[0].padded {
		t.Error("the next probe is not of data size")
	}
}

// What was sent is followed by nothing: all paths that worked are asked at once, and the first to answer takes over.
func TestPathTableFallback(t *testing.T) {
	tt := establishedTable(t)
	tt.handshaken(tt.now, testPath(2), 50*time.Millisecond, netip.AddrPort{})
	tt.wantProbes(testPath(2))
	tt.pass(50 * time.Millisecond)
	tt.reply(0)
	tt.sent(tt.now, testPath(1), true, 1232)
	tt.pass(129 * time.Millisecond)
	tt.wantProbes()
	tt.now = tt.now.Add(time.Millisecond)
	tt.wantProbes(testPath(1), testPath(2))
	tt.pass(50 * time.Millisecond)
	tt.reply(1)
	tt.step()
	tt.pass(10 * time.Millisecond)
	tt.wantInUse(testPath(2))
}

func TestPathTableKeepAlive(t *testing.T) {
	tt := establishedTable(t)
	tt.pass(25*time.Second - 41*time.Millisecond)
	tt.wantProbes()
	tt.now = tt.now.Add(41 * time.Millisecond)
	tt.wantProbes(testPath(1))
	tt.pass(40 * time.Millisecond)
	tt.reply(0)
	tt.sent(tt.now.Add(5*time.Second), testPath(1), false, 40)
	tt.pass(29 * time.Second)
	tt.wantProbes()
}

// After a burst of the peer there is one probe, whatever the burst's length, and none follows its answer.
func TestPathTableAskAfterBurst(t *testing.T) {
	tt := establishedTable(t)
	for range 10 {
		tt.pass(10 * time.Millisecond)
		tt.heard(tt.now, testPath(1), true, 1232)
	}
	tt.pass(39 * time.Millisecond)
	tt.wantProbes()
	tt.now = tt.now.Add(time.Millisecond)
	tt.wantProbes(testPath(1))
	if !tt.probe[0].padded {
		t.Error("the probe leaves the peer too little room if we have moved")
	}
	tt.pass(40 * time.Millisecond)
	tt.reply(0)
	if at := tt.next(); at.Before(tt.now.Add(20 * time.Second)) {
		t.Errorf("a link at rest has something to do in %v", at.Sub(tt.now))
	}
	tt.heard(tt.now, testPath(1), true, 1232)
	tt.peerProbed(testPath(1))
	if at := tt.next(); at.Before(tt.now.Add(20 * time.Second)) {
		t.Errorf("the peer asked, and still we ask in %v", at.Sub(tt.now))
	}
}

func TestPathTableDeadPeer(t *testing.T) {
	tt := establishedTable(t)
	if at := tt.deadAt(30 * time.Second); !at.IsZero() {
		t.Fatalf("nobody was asked and the peer is dead at %v", at)
	}
	tt.sent(tt.now, testPath(1), true, 1232)
	asked := tt.now
	tt.pass(29 * time.Second)
	if at := tt.deadAt(30 * time.Second); !at.Equal(asked.Add(30 * time.Second)) {
		t.Fatalf("dead at %v, want 30 s after %v", at, asked)
	}
	tt.heard(tt.now, testPath(1), false, 1232)
	if at := tt.deadAt(30 * time.Second); !at.IsZero() {
		t.Fatalf("the peer was heard and is dead at %v", at)
	}
}

// A process that was stopped for a minute finds that nobody was asked meanwhile.
func TestPathTableSleep(t *testing.T) {
	tt := establishedTable(t)
	tt.sent(tt.now, testPath(1), true, 1232)
	tt.now = tt.now.Add(time.Minute)
	tt.step()
	if at := tt.deadAt(30 * time.Second); !at.IsZero() && !at.After(tt.now) {
		t.Error("the peer is dead although it was asked once")
	}
}

// Whatever comes, the table stays small, probes stay few, and a path in use that answers stays.
func TestPathTableBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tt := establishedTable(t)
		newProbes := 0
		began := tt.now
		for range rapid.IntRange(1, 200).Draw(rt, "events") {
			p := testPath(rapid.Byte().Draw(rt, "path"))
			p.Addr = netip.AddrPortFrom(p.Addr.Addr(), rapid.Uint16Range(1, 9).Draw(rt, "port"))
			switch rapid.IntRange(0, 3).Draw(rt, "event") {
			case 0, 1:
				tt.heard(tt.now, p, true, 1232)
			case 2:
				tt.pathTable.probe(tt.now, p, 0)
			case 3:
				tt.now = tt.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ms")) * time.Millisecond)
			}
			tt.step()
			for i, o := range tt.probe {
				if o.path == testPath(1) {
					tt.reply(i)
				} else {
					newProbes++
				}
			}
			if len(tt.paths) > maxPaths || len(tt.probes.waiting) > maxProbes || len(tt.probes.order) > 2*maxProbes {
				rt.Fatalf("%d paths, %d probes", len(tt.paths), len(tt.probes.waiting))
			}
			tt.wantInUse(testPath(1))
		}
		limit := (maxTries + 1) * (newPathBurst + int(tt.now.Sub(began)/newPathRefill) + 1)
		if newProbes > limit {
			rt.Fatalf("%d probes to unknown sources in %v, want at most %d", newProbes, tt.now.Sub(began), limit)
		}
	})
}

// To an address that nobody has proven to be the peer's goes no more than three times what came from there, however
// long it keeps sending and whatever its size.
func TestPathTableAmplification(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tt := establishedTable(t)
		stranger := testPath(9)
		received, sent := 0, 0
		for range rapid.IntRange(1, 60).Draw(rt, "packets") {
			size := rapid.SampledFrom([]int{37, 57, 100, 400, 1232}).Draw(rt, "size")
			tt.heard(tt.now, stranger, rapid.Bool().Draw(rt, "burst"), size)
			received += size
			if rapid.Bool().Draw(rt, "it asks") { // and is answered with as much
				tt.sent(tt.now, stranger, false, size)
				sent += size
			}
			tt.step()
			steps := rapid.IntRange(0, 9).Draw(rt, "steps")
			for i := 0; ; i++ {
				for _, o := range tt.probe {
					if o.path != stranger {
						continue
					}
					size := smallProbeSize
					if o.padded {
						size = 1232
					}
					tt.sent(tt.now, stranger, true, size)
					sent += size
				}
				if i == steps {
					break
				}
				tt.now = tt.now.Add(100 * time.Millisecond)
				tt.step()
			}
			if sent > 3*received {
				rt.Fatalf("%d bytes sent to who sent %d", sent, received)
			}
		}
	})
}

// Small packets of who moved allow a small probe; its answer proves the address, and then one of full size follows.
func TestPathTableSmallPacketsFromElsewhere(t *testing.T) {
	tt := establishedTable(t)
	tt.heard(tt.now, testPath(2), false, smallProbeSize)
	tt.wantProbes(testPath(1), testPath(2))
	if tt.probe[1].padded {
		t.Fatal("a small packet had a large one sent")
	}
	tt.sent(tt.now, testPath(2), true, smallProbeSize)
	tt.pass(40 * time.Millisecond)
	tt.heard(tt.now, testPath(2), false, smallProbeSize)
	tt.answered(tt.now, testPath(2), tt.probe[1].token, netip.AddrPort{}, smallProbeSize)
	tt.step()
	tt.wantInUse(testPath(1))
	if len(tt.probe) != 1 || tt.probe[0].path != testPath(2) || !tt.probe[0].padded {
		t.Fatalf("probes %v, want one of full size to the proven address", tt.probe)
	}
	tt.pass(40 * time.Millisecond)
	tt.heard(tt.now, testPath(2), false, 1232)
	tt.answered(tt.now, testPath(2), tt.probe[0].token, netip.AddrPort{}, 1232)
	tt.step()
	tt.wantInUse(testPath(2))
}

// An answer that is cut short on its way back proves one direction only.
func TestPathTableSmallAnswer(t *testing.T) {
	tt := newTableTest(t)
	o := tt.pathTable.probe(tt.now, testPath(2), 0)
	tt.answered(tt.now, testPath(2), o.token, netip.AddrPort{}, 60)
	tt.step()
	if _, ok := tt.current(); ok {
		t.Error("the path is in use")
	}
}

// The usual pause between packets of a burst is no silence.
func TestPathTableKnowsTheRhythm(t *testing.T) {
	tt := establishedTable(t)
	for range 50 {
		tt.pass(60 * time.Millisecond)
		tt.wantProbes()
		tt.heard(tt.now, testPath(1), true, 1232)
	}
	tt.pass(119 * time.Millisecond)
	tt.wantProbes()
	tt.now = tt.now.Add(time.Millisecond)
	tt.wantProbes(testPath(1))
}

// Who learns from an answer that the peer sees it elsewhere shows itself again a few times, unless data comes.
func TestPathTableShowsWhereWeAre(t *testing.T) {
	for _, data := range []bool{false, true} {
		tt := establishedTable(t)
		tt.networkChanged(tt.now)
		tt.wantProbes(testPath(1))
		if !tt.probe[0].padded {
			t.Error("the peer may answer a small probe with little")
		}
		tt.pass(40 * time.Millisecond)
		tt.heard(tt.now, testPath(1), false, 1232)
		tt.answered(tt.now, testPath(1), tt.probe[0].token, netip.MustParseAddrPort("203.0.113.77:5"), 1232)
		if data {
			tt.heard(tt.now, testPath(1), true, 1232)
			tt.peerProbed(testPath(1))
		}
		shown := 0
		for range 100 {
			tt.now = tt.now.Add(20 * time.Millisecond)
			tt.step()
			for _, o := range tt.probe {
				if shown++; !o.padded {
					t.Error("a small probe")
				}
				tt.heard(tt.now, o.path, false, 1232)
				tt.answered(tt.now, o.path, o.token, netip.MustParseAddrPort("203.0.113.77:5"), 1232)
			}
		}
		if want := map[bool]int{false: moveShows, true: 1}[data]; shown != want {
			t.Errorf("data %v: shown %d times, want %d", data, shown, want)
		}
	}
}

// A path in use that goes silent while another one works is left in no more than what its silence takes to be noticed,
// and a round trip.
func TestPathTableLeavesDeadPathInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rtt := time.Duration(rapid.IntRange(1, 400).Draw(rt, "rtt in ms")) * time.Millisecond
		other := time.Duration(rapid.IntRange(1, 400).Draw(rt, "rtt of the other path in ms")) * time.Millisecond
		tt := newTableTest(t)
		for n, d := range []time.Duration{rtt, other} {
			tt.handshaken(tt.now, testPath(byte(n+1)), 0, netip.AddrPort{})
			tt.step()
			probe := tt.probe[0]
			tt.now = tt.now.Add(d)
			tt.heard(tt.now, probe.path, false, 1232)
			tt.answered(tt.now, probe.path, probe.token, netip.AddrPort{}, 1232)
			tt.step()
		}
		dead, _ := tt.current()
		alive, delay := testPath(1), rtt
		if dead == alive {
			alive, delay = testPath(2), other
		}
		slow := tt.find(dead).srtt
		began := tt.now
		tt.sent(tt.now, dead, true, 1232)
		type answer struct {
			at    time.Time
			token uint64
		}
		var answers []answer
		for p, _ := tt.current(); p == dead; p, _ = tt.current() {
			tt.now = tt.now.Add(time.Millisecond)
			for len(answers) > 0 && !answers[0].at.After(tt.now) {
				tt.heard(tt.now, alive, false, 1232)
				tt.answered(tt.now, alive, answers[0].token, netip.AddrPort{}, 1232)
				answers = answers[1:]
			}
			tt.step()
			for _, o := range tt.probe {
				if o.path == alive {
					answers = append(answers, answer{tt.now.Add(delay), o.token})
				}
			}
			limit := 2*slow + answerDelay + max(delay, slow*5/4+suspectGrace) + 3*time.Millisecond
			if took := tt.now.Sub(began); took > limit {
				rt.Fatalf("still on a path of %v after %v, although one of %v works", slow, took, delay)
			}
		}
	})
}

// A path on which only a handshake was completed, with small packets, does not take over from one that carries full
// packets, however much faster it looks: not before it has answered a probe of full size at that size.
func TestPathTableHandshakeIsNotProofOfSize(t *testing.T) {
	for _, inDoubt := range []bool{false, true} {
		tt := establishedTable(t)
		tt.now = tt.now.Add(minDwell)
		tt.handshaken(tt.now, testPath(2), time.Millisecond, netip.AddrPort{})
		if inDoubt {
			tt.doubt(tt.now, tt.now.Add(-time.Second), tt.inUse, ReasonSilence)
		}
		tt.step()
		tt.wantInUse(testPath(1))
		i := len(tt.probe) - 1
		if !tt.probe[i].padded || tt.probe[i].path != testPath(2) {
			t.Fatalf("probes %v, want one of full size on the new path", tt.probe)
		}
		tt.now = tt.now.Add(time.Millisecond)
		tt.answered(tt.now, testPath(2), tt.probe[i].token, netip.AddrPort{}, smallProbeSize)
		tt.step()
		tt.wantInUse(testPath(1))
		if tt.leaving() {
			t.Error("data waits for a path that may not carry it")
		}
		tt.now = tt.now.Add(minProbeWait)
		tt.step()
		i = len(tt.probe) - 1
		tt.now = tt.now.Add(time.Millisecond)
		tt.answered(tt.now, testPath(2), tt.probe[i].token, netip.AddrPort{}, 1232)
		tt.step()
		tt.wantInUse(testPath(2))
	}
}

// While it is open whether the peer has left the path in use, nothing more is sent there; it is no longer open when the
// peer is heard there, or when the answer from elsewhere is overdue.
func TestPathTableHoldsDataWhilePeerMoves(t *testing.T) {
	for _, heard := range []bool{false, true} {
		tt := establishedTable(t)
		tt.heard(tt.now, testPath(2), true, 1232)
		tt.wantProbes(testPath(1), testPath(2))
		if !tt.moving() {
			t.Fatal("data is sent where the peer may be no longer")
		}
		if heard {
			tt.heard(tt.now, testPath(1), false, 60)
		} else {
			tt.pass(2*40*time.Millisecond + answerDelay)
			tt.step()
		}
		if tt.moving() {
			t.Errorf("data is still held back; the peer was heard on the path in use: %v", heard)
		}
	}
}

// A few bursts in a row are each followed by a probe; after many it is one in 250 ms.
func TestPathTableTailProbesAreFew(t *testing.T) {
	tt := establishedTable(t)
	probes := make([]int, 0, 50)
	for range cap(probes) {
		for range 50 {
			tt.now = tt.now.Add(time.Millisecond)
			tt.heard(tt.now, testPath(1), true, 1232)
			tt.step()
		}
		n := 0
		for range 50 {
			tt.now = tt.now.Add(time.Millisecond)
			tt.step()
			n += len(tt.probe)
		}
		probes = append(probes, n)
	}
	total := 0
	for _, n := range probes {
		total += n
	}
	if probes[0] != 1 || probes[1] != 1 || probes[2] != 1 || total < 15 || total > 5*4+1+tailProbeBurst {
		t.Errorf("after each of the bursts within 5 s there were %d probes", probes)
	}
}

// Whatever comes, and however the clock jumps meanwhile, backwards too, the table comes to rest at once (a loop would
// spin), and sends one probe on a path at a time.
func TestPathTableClockJumps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tt := establishedTable(t)
		var waiting []outProbe
		for range rapid.IntRange(1, 150).Draw(rt, "events") {
			p := testPath(rapid.ByteRange(1, 5).Draw(rt, "path"))
			p.Circuit = rapid.Uint32Range(0, 1).Draw(rt, "circuit")
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0:
				tt.heard(tt.now, p, rapid.Bool().Draw(rt, "burst"), rapid.SampledFrom([]int{60, 1232}).Draw(rt, "size"))
			case 1:
				tt.handshaken(tt.now, p, 0, netip.AddrPort{})
			case 2:
				tt.networkChanged(tt.now)
			case 3:
				tt.doubtAll(tt.now, ReasonMoved)
			case 4:
				if in, ok := tt.current(); ok {
					tt.sent(tt.now, in, true, 1232)
				}
			case 5:
				if n := len(waiting); n > 0 {
					o := waiting[rapid.IntRange(0, n-1).Draw(rt, "probe")]
					tt.heard(tt.now, o.path, false, 1232)
					tt.answered(tt.now, o.path, o.token, netip.AddrPort{}, rapid.SampledFrom([]int{60, 1232}).Draw(rt, "size"))
				}
			case 6: // it slept, or somebody set the clock
				tt.now = tt.now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(rt, "jump")))
			case 7:
				tt.now = tt.now.Add(time.Duration(rapid.IntRange(0, 500).Draw(rt, "ms")) * time.Millisecond)
			default:
				if at := tt.next(); !at.IsZero() {
					tt.now = at
				}
			}
			tt.step()
			waiting = append(waiting, tt.probe...)
			if len(tt.probe) > len(tt.paths) {
				rt.Fatalf("%d probes on %d paths at once", len(tt.probe), len(tt.paths))
			}
			steps := 1
			for at := tt.next(); !at.IsZero() && !at.After(tt.now); at = tt.next() {
				tt.step()
				waiting = append(waiting, tt.probe...)
				if steps++; steps > 3 {
					rt.Fatalf("after %d steps at %v the next one is due at %v: %+v", steps, tt.now, at, tt.infos())
				}
			}
		}
	})
}

// Of two circuits that were opened at the same time, the peer may have kept the other one. What it sends there shows that,
// once: a circuit on which it was heard is not left for another.
func TestTableUnheardCircuit(t *testing.T) {
	tt := newTableTest(t)
	circuit := func(n byte) Path { return Path{Addr: testPath(n).Addr, Circuit: uint32(n)} }
	tt.opened(tt.now, circuit(1), 40*time.Millisecond, nil)
	tt.opened(tt.now, circuit(2), 40*time.Millisecond, nil)
	tt.step()
	tt.wantInUse(circuit(1))
	tt.pass(time.Millisecond)
	tt.heard(tt.now, circuit(2), false, 50) // a probe says nothing of which one it uses
	tt.wantInUse(circuit(1))
	tt.heard(tt.now, circuit(2), true, 500)
	tt.step()
	tt.wantInUse(circuit(2))
	tt.heard(tt.now, circuit(1), true, 500)
	tt.step()
	tt.wantInUse(circuit(2))
}
