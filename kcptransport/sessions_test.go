package kcptransport

import (
	"slices"
	"testing"
	"time"
)

// Keys are renewed every hour, and nobody notices.
func TestRekey(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		w.link = slowLink(50 * time.Millisecond)
		a, b, l, m := w.pair()
		w.serveEcho(m)
		first := a.indices()[0]
		s := w.open(l, "echo")
		for range 59 {
			w.wantEchoOn(s, []byte("every minute"))
			w.sleep(time.Minute)
		}
		if got := a.indices(); len(got) != 1 || got[0] != first {
			w.Fatalf("indices %v before an hour is over", got)
		}
		w.sleep(58 * time.Second)
		tr := w.startTransfer(m, l, 10<<20) // lasts beyond the hour
		w.sleep(3 * time.Second)
		if n := len(a.indices()); n != 2 {
			w.Errorf("%d sessions after the hour, want the old and the new one", n)
		}
		tr.wait()
		w.Logf("%v for 10 MiB at 20 Mbit/s", tr.took)
		if tr.took > 5*time.Second {
			w.Errorf("the transfer took %v", tr.took)
		}
		for range 70 {
			w.wantEchoOn(s, []byte("every minute"))
			w.sleep(time.Minute)
		}
		for _, x := range []*node{a, b} {
			if got := x.indices(); len(got) != 1 || got[0] == first {
				w.Errorf("indices %v, the first was %v", got, first)
			}
		}
		if l.Err() != nil || m.Err() != nil || len(a.Links()) != 1 || len(b.Links()) != 1 {
			w.Errorf("links ended: %v, %v", l.Err(), m.Err())
		}
		if refused := l.Stats().PacketsRefused + m.Stats().PacketsRefused; refused != 0 {
			w.Errorf("%d packets came under unknown keys", refused)
		}
		if n := l.Stats().PathChanges; n != 1 {
			w.Errorf("the path changed %d times", n)
		}
	})
}

// The same for a link that has nothing but a circuit.
func TestRekeyByCircuit(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, m, _, _, _ := w.relayed(1)
		w.serveEcho(m)
		first := [][]uint32{a.indices(), b.indices()}
		for range 125 { // the old ones are forgotten later
			w.sleep(time.Minute)
			w.wantEcho(l)
		}
		for i, n := range []*node{a, b} {
			for _, index := range n.indices() {
				if slices.Contains(first[i], index) {
					t.Errorf("%v has %v, and had %v at first", n.ID(), n.indices(), first[i])
				}
			}
		}
		if l.Err() != nil || m.Err() != nil {
			t.Errorf("the links ended: %v, %v", l.Err(), m.Err())
		}
	})
}

// The same for a link that was made knowing only an address, whichever side renews the keys.
func TestRekeyAfterJoin(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		l := a.join(b)
		m := b.accept()
		w.serveEcho(m)
		w.sleep(10 * time.Minute)
		index := a.indices()[0]
		for _, l := range []*Link{m, l, m} {
			info, _ := l.Path()
			if _, ok := a.table.lookup(index); !ok {
				w.Fatal("the index is not in use")
			}
			l.ep.shaker.inbox.put(rekeyRequest{link: l, addr: info.Path.Addr})
			w.sleep(10 * time.Minute)
			if _, ok := a.table.lookup(index); ok {
				w.Fatal("the keys were not renewed")
			}
			index = a.indices()[0]
		}
		w.sleep(3 * time.Hour)
		w.wantEcho(l)
		if l.Err() != nil || m.Err() != nil || len(a.Links()) != 1 || len(b.Links()) != 1 {
			w.Errorf("links ended: %v, %v", l.Err(), m.Err())
		}
	})
}

// New keys under heavy loss: it takes longer, and works.
func TestRekeyUnderLoss(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		w.link.Loss = 0.163
		_, _, l, m := w.pair()
		w.serveEcho(m)
		s := w.open(l, "echo")
		for range 5 * 60 {
			w.wantEchoOn(s, []byte("every minute"))
			w.sleep(time.Minute)
		}
		if l.Err() != nil || m.Err() != nil {
			w.Errorf("the link ended: %v, %v", l.Err(), m.Err())
		}
	})
}

// The peer is restarted unnoticed just before its keys would have been renewed.
func TestRekeyAfterRestart(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, _ := w.pair()
		w.sleep(time.Hour - 5*time.Second)
		w.net.Partition(a.host, b.host)
		b.Close()
		w.net.Heal(a.host, b.host)
		b.start(77)
		if err := w.wantEnd(l, 10*time.Second); err == nil {
			w.Error("the old link goes on")
		}
		fresh := a.accept()
		w.serveEcho(b.accept())
		w.wantEcho(fresh)
	})
}

func TestRekeyAfterPackets(t *testing.T) {
	now := testStart.Add(time.Minute)
	s := &session{since: testStart, heard: testStart, initiator: true}
	if at := s.rekeyAt(now); !at.Equal(testStart.Add(rekeyAfterTime)) {
		t.Errorf("rekey at %v", at)
	}
	s.initiator = false
	if at := s.rekeyAt(now); !at.IsZero() {
		t.Errorf("the side that was called rekeys at %v", at)
	}
	if s.next = rekeyAfterPackets; !s.rekeyAt(now).Equal(now) {
		t.Error("no rekey after too many packets")
	}
	if s.heard = (time.Time{}); !s.rekeyAt(now).IsZero() {
		t.Error("a session that is not confirmed is replaced")
	}
}

// Of two sessions that were made at once both sides choose the one that the lower PeerID began; of others the newest.
func TestSessionChoice(t *testing.T) {
	mine := &session{localIndex: 1, since: testStart, heard: testStart, initiator: true}
	theirs := &session{localIndex: 2, since: testStart.Add(time.Second), heard: testStart}
	later := &session{localIndex: 3, since: testStart.Add(time.Hour), initiator: false}
	for _, lower := range []bool{true, false} {
		l := sessions{lower: lower}
		if l.best() != nil || !l.next().IsZero() || l.retire(testStart) != nil {
			t.Error("no session should be chosen")
		}
		l.add(mine)
		l.add(theirs)
		if got := l.best() == mine; got != lower {
			t.Errorf("lower = %v chose %d", lower, l.best().localIndex)
		}
		l.add(later)
		if l.best() == later {
			t.Error("chose a session that the peer may not have")
		}
		later.heard = later.since
		if l.best() != later {
			t.Error("did not choose the newest")
		}
		at := later.heard.Add(sessionRetirement)
		if !l.next().Equal(at) || l.retire(at.Add(-1)) != nil || l.retire(at) == nil || l.retire(at) == nil || l.retire(at) != nil {
			t.Error("the two old ones should retire after 30 s")
		}
		later.heard = time.Time{}
	}
}

// indices returns the receiver indices in use.
func (x *node) indices() (list []uint32) {
	x.table.mu.RLock()
	defer x.table.mu.RUnlock()
	for i := range x.table.indices {
		list = append(list, i)
	}
	return list
}
