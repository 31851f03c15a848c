package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("STATE_TEST_CHILD"); path != "" {
		writeUntilKilled(path)
	}
	leaks.VerifyTestMain(m)
}

func identity(n byte) *kcptransport.Identity { return kcptransport.IdentityFromSeed([32]byte{n, 2}) }

// written makes an unsigned entry, for what does not look at signatures.
func written(wall uint64, author byte, base Version) *Entry {
	return &Entry{Key: "k", Value: []byte{author % 24}, Version: Version{Wall: wall, Author: kcptransport.PeerID{author}}, Base: base}
}

// Whatever the order, the grouping and the repetitions in which replicas see
// the same writes, they end with the same siblings: those of the definition.
func TestSiblingsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*Entry
		for i := range rapid.IntRange(1, 25).Draw(t, "writes") {
			var base Version
			if len(all) > 0 && rapid.Bool().Draw(t, "knows") {
				base = all[rapid.IntRange(0, len(all)-1).Draw(t, "base")].Version
			}
			e := written(base.Wall+1+rapid.Uint64Range(0, 3).Draw(t, "later"), byte(i), base)
			e.Deleted = rapid.Bool().Draw(t, "deleted")
			all = append(all, e)
		}
		var highest Version
		for _, e := range all {
			if e.Base.Compare(highest) > 0 {
				highest = e.Base
			}
		}
		var want siblings
		for _, e := range all {
			if e.Version.Compare(highest) > 0 {
				want = append(want, e)
			}
		}
		slices.SortFunc(want, func(a, b *Entry) int { return b.Version.Compare(a.Version) })
		want = want[:min(len(want), maxSiblings)]

		order := rapid.Permutation(append(slices.Clone(all), all...)).Draw(t, "order")
		cut := rapid.IntRange(0, len(order)).Draw(t, "cut")
		var one, two siblings
		for _, e := range order[:cut] {
			one, _ = one.add(e)
		}
		for _, e := range order[cut:] {
			two, _ = two.add(e)
		}
		both, _ := union(one, two)
		other, _ := union(two, one)
		if !slices.Equal(both, other) || !slices.Equal(both, want) {
			t.Fatalf("got %v and %v, want %v", versions(both), versions(other), versions(want))
		}
		if again, changed := union(both, one); changed || !slices.Equal(again, both) {
			t.Fatal("seeing the same again changed something")
		}
	})
}

func union(a, b siblings) (siblings, bool) {
	changed := false
	for _, e := range b {
		var c bool
		a, c = a.add(e)
		changed = changed || c
	}
	return a, changed
}

func versions(s siblings) (out []string) {
	for _, e := range s {
		out = append(out, fmt.Sprint(e.Version.Wall, e.Version.Author[0]))
	}
	return out
}

func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		var last Version
		for range 50 {
			if rapid.Bool().Draw(t, "see") {
				v := Version{Wall: rapid.Uint64Range(0, 100).Draw(t, "wall"), Counter: rapid.Uint32Range(0, 9).Draw(t, "counter")}
				c.see(v)
				if v.Compare(last) > 0 {
					last = v
				}
			}
			wall, counter := c.tick(time.UnixMilli(rapid.Int64Range(-5, 100).Draw(t, "now")))
			v := Version{Wall: wall, Counter: counter}
			if v.Compare(last) <= 0 {
				t.Fatalf("%v after %v", v, last)
			}
			last = v
		}
	})
}

// room is a set of nodes whose streams can be cut.
type room struct {
	t     *testing.T
	nodes []*testNode
	mu    sync.Mutex
	cut   map[[2]int]bool
}

type testNode struct {
	*Service
	id *kcptransport.Identity
	m  *Map
}

// pipeStream makes a net.Pipe a Stream.
type pipeStream struct{ net.Conn }

func (p pipeStream) CloseWrite() error { return nil }

func newRoom(t *testing.T, n int, change ...func(i int, c *Config)) *room {
	r := &room{t: t, cut: map[[2]int]bool{}}
	for i := range n {
		node := &testNode{id: identity(byte(i))}
		node.Service = NewService(ServiceConfig{
			Identity: node.id,
			Opener:   OpenerFunc(func(_ context.Context, id kcptransport.PeerID, _ string) (Stream, error) { return r.open(i, id) }),
		})
		cfg := Config{Name: "m"}
		for _, c := range change {
			c(i, &cfg)
		}
		var err error
		if node.m, err = node.Open(cfg); err != nil {
			t.Fatal(err)
		}
		r.nodes = append(r.nodes, node)
	}
	t.Cleanup(func() {
		for _, n := range r.nodes {
			n.Close()
		}
	})
	return r
}

func (r *room) index(id kcptransport.PeerID) int {
	return slices.IndexFunc(r.nodes, func(n *testNode) bool { return n.id.ID() == id })
}

func (r *room) open(from int, id kcptransport.PeerID) (Stream, error) {
	to := r.index(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut[[2]int{from, to}] {
		return nil, errors.New("no link")
	}
	a, b := net.Pipe()
	go func() { _ = r.nodes[to].ServeStream(context.Background(), r.nodes[from].id.ID(), pipeStream{b}) }()
	return pipeStream{a}, nil
}

// link attaches two nodes to each other, or takes the link away.
func (r *room) link(a, b int, up bool) {
	r.mu.Lock()
	r.cut[[2]int{a, b}], r.cut[[2]int{b, a}] = !up, !up
	r.mu.Unlock()
	for _, p := range [][2]int{{a, b}, {b, a}} {
		if up {
			r.nodes[p[0]].Attach(r.nodes[p[1]].id.ID())
		} else {
			r.nodes[p[0]].Detach(r.nodes[p[1]].id.ID())
		}
	}
}

func (r *room) set(i int, key string, v any) {
	r.t.Helper()
	if err := r.nodes[i].m.Set(key, v); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) contents(i int) map[string]string {
	out := map[string]string{}
	for k, v := range r.nodes[i].m.All("") {
		var s any
		_ = decMode.Unmarshal(v, &s)
		out[k] = fmt.Sprint(s)
	}
	return out
}

func (r *room) wantAll(want map[string]string) {
	r.t.Helper()
	time.Sleep(5 * time.Second)
	for i := range r.nodes {
		if got := r.contents(i); !maps.Equal(got, want) {
			r.t.Errorf("node %d has %v, want %v", i, got, want)
		}
	}
}

func inRoom(t *testing.T, n int, f func(t *testing.T, r *room), change ...func(int, *Config)) {
	synctest.Test(t, func(t *testing.T) { f(t, newRoom(t, n, change...)) })
}

func TestChangesTravelOverSeveralNodes(t *testing.T) {
	inRoom(t, 3, func(t *testing.T, r *room) {
		r.set(0, "before", 1)
		r.link(0, 1, true)
		r.link(1, 2, true)
		r.wantAll(map[string]string{"before": "1"})
		r.set(0, "a", "from 0")
		r.set(2, "b", "from 2")
		r.wantAll(map[string]string{"before": "1", "a": "from 0", "b": "from 2"})
		r.set(2, "a", "changed")
		if err := r.nodes[1].m.Delete("before"); err != nil {
			t.Fatal(err)
		}
		r.wantAll(map[string]string{"a": "changed", "b": "from 2"})
	})
}

func TestPartitionHeals(t *testing.T) {
	inRoom(t, 3, func(t *testing.T, r *room) {
		r.link(0, 1, true)
		r.link(1, 2, true)
		r.set(0, "x", 0)
		r.wantAll(map[string]string{"x": "0"})
		r.link(1, 2, false)
		r.set(0, "x", "one side")
		r.set(0, "left", 1)
		time.Sleep(time.Second)
		r.set(2, "x", "other side, later")
		r.set(2, "right", 1)
		time.Sleep(time.Second)
		if r.contents(0)["x"] != "one side" {
			t.Error("the cut link carried something")
		}
		r.link(1, 2, true)
		r.wantAll(map[string]string{"x": "other side, later", "left": "1", "right": "1"})
	})
}

// A counter that two sides raised without knowing of each other.
func TestMergeOfConcurrentWrites(t *testing.T) {
	sum := func(_ int, c *Config) {
		c.Merge = func(_ string, a, b Entry) (any, error) {
			var x, y int
			if err := errors.Join(decMode.Unmarshal(a.Value, &x), decMode.Unmarshal(b.Value, &y)); err != nil {
				return nil, err
			}
			return max(x, y) + 1000, nil
		}
	}
	inRoom(t, 2, func(t *testing.T, r *room) {
		r.set(0, "n", 5)
		r.set(1, "n", 7)
		r.link(0, 1, true)
		r.wantAll(map[string]string{"n": "1007"})
		r.set(0, "n", 8) // knows of both
		r.wantAll(map[string]string{"n": "8"})
	}, sum)
}

func TestPushAndRequest(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		for i := range 500 {
			r.set(0, fmt.Sprint("key", i), strings.Repeat("v", 1000))
		}
		ctx := t.Context()
		if err := r.nodes[0].Push(ctx, "m", r.nodes[1].id.ID()); err != nil {
			t.Fatal(err)
		}
		if n := r.nodes[1].m.Len(); n != 500 {
			t.Errorf("%d keys after the push", n)
		}
		r.set(1, "extra", 1)
		if err := r.nodes[0].Request(ctx, "m", r.nodes[1].id.ID()); err != nil {
			t.Fatal(err)
		}
		if n := r.nodes[0].m.Len(); n != 501 {
			t.Errorf("%d keys after the request", n)
		}
	})
}

func TestPeerWithoutTheMap(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		other, err := r.nodes[0].Open(Config{Name: "other"})
		if err != nil {
			t.Fatal(err)
		}
		r.link(0, 1, true)
		if err := other.Set("k", 1); err != nil {
			t.Fatal(err)
		}
		var refused *RefusedError
		if err := r.nodes[0].Push(t.Context(), "other", r.nodes[1].id.ID()); !errors.As(err, &refused) {
			t.Errorf("push: %v, want a RefusedError", err)
		}
		late, err := r.nodes[1].Open(Config{Name: "other"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if late.Len() != 1 {
			t.Error("a map that was opened later got nothing")
		}
		if err := other.Set("k2", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if late.Len() != 2 {
			t.Error("changes do not reach a map that was opened later")
		}
	})
}

func signed(id *kcptransport.Identity, key string, v any, wall uint64) *Entry {
	raw, _ := encMode.Marshal(v)
	e := &Entry{Key: key, Value: raw, Version: Version{Wall: wall, Author: id.ID()}}
	e.Sig = id.Sign(e.signedBytes("m"))
	return e
}

func TestHostileEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1, func(_ int, c *Config) { c.MaxEntries = 3 })
		m := r.nodes[0].m
		now := time.Now()
		good := signed(identity(9), "k", 1, millis(now))
		read := func(change func(*wireEntry)) error {
			w := good.pack()
			change(&w)
			var b bytes.Buffer
			if err := writeFrame(&b, entriesFrame{Entries: []wireEntry{w}}); err != nil {
				return err
			}
			_, _, err := readEntries(&b, "m")
			return err
		}
		if err := read(func(*wireEntry) {}); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*wireEntry){
			"value changed":  func(w *wireEntry) { w.Value = []byte{2} },
			"version raised": func(w *wireEntry) { w.Version.Wall++ },
			"no signature":   func(w *wireEntry) { w.Sig = nil },
			"other author":   func(w *wireEntry) { id := identity(8).ID(); w.Version.Author = id[:] },
			"short author":   func(w *wireEntry) { w.Version.Author = []byte{1} },
			"empty key":      func(w *wireEntry) { w.Key = "" },
			"neither":        func(w *wireEntry) { w.Value = nil },
			"after itself":   func(w *wireEntry) { v := w.Version; w.Base = &v },
		} {
			if read(change) == nil {
				t.Errorf("%s: the entry was taken", name)
			}
		}
		from := identity(9).ID()
		if err := m.apply([]*Entry{signed(identity(9), "future", 1, millis(now.Add(2*time.Minute)))}, from, now); err == nil || m.Len() != 0 {
			t.Errorf("a write from the future was taken: %v", err)
		}
		var many []*Entry
		for i := range 5 {
			many = append(many, signed(identity(9), fmt.Sprint(i), 1, millis(now)))
		}
		if err := m.apply(many, from, now); !errors.Is(err, ErrFull) || m.Len() != 3 {
			t.Errorf("%d keys of at most 3: %v", m.Len(), err)
		}
		for _, v := range []Version{{Wall: 1<<64 - 1, Counter: 1<<32 - 1}, {Wall: 1<<63 + 5}} {
			e := &Entry{Key: "0", Value: []byte{1}, Version: Version{Wall: v.Wall, Counter: v.Counter, Author: from}}
			e.Sig = identity(9).Sign(e.signedBytes("m"))
			if err := m.apply([]*Entry{e}, from, now); err == nil {
				t.Errorf("a write of the year %d was taken", v.Time().Year())
			}
		}
		if m.Refused() != 5 {
			t.Errorf("%d entries counted as refused, want 5", m.Refused())
		}
	})
}

// An author who signs two values with one version does not divide the room.
func TestEquivocation(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		id := identity(9)
		wall := millis(time.Now())
		for i, v := range []int{1, 2} {
			if err := r.nodes[i].m.apply([]*Entry{signed(id, "k", v, wall)}, id.ID(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		r.link(0, 1, true)
		time.Sleep(time.Minute)
		if a, b := r.contents(0), r.contents(1); !maps.Equal(a, b) || len(a) != 1 {
			t.Errorf("one node has %v, the other %v", a, b)
		}
	})
}

func TestOldDeletionsMakeRoom(t *testing.T) {
	inRoom(t, 1, func(t *testing.T, r *room) {
		m := r.nodes[0].m
		r.set(0, "a", 1)
		r.set(0, "b", 1)
		if err := errors.Join(m.Delete("a"), m.Delete("b")); err != nil {
			t.Fatal(err)
		}
		if err := m.Set("c", 1); !errors.Is(err, ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
		time.Sleep(tombstoneLife + time.Hour)
		r.set(0, "c", 1)
		if len(m.keys) != 1 {
			t.Errorf("%d keys kept, want 1", len(m.keys))
		}
	}, func(_ int, c *Config) { c.MaxEntries = 2 })
}

// What was forgotten is not brought back by a peer that was slower to forget.
func TestForgottenDeletionsStayForgotten(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		r.link(0, 1, true)
		r.set(0, "a", 1)
		time.Sleep(time.Second)
		if err := r.nodes[1].m.Delete("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tombstoneLife + time.Hour)
		for i, n := range r.nodes {
			if len(n.m.entries(func(string) bool { return true })) != 0 {
				t.Errorf("node %d still remembers", i)
			}
		}
	})
}

// Updates do not count as new keys.
func TestFullCountsNewKeysOnly(t *testing.T) {
	inRoom(t, 1, func(t *testing.T, r *room) {
		m, id := r.nodes[0].m, identity(9)
		now := millis(time.Now())
		var first, second []*Entry
		for i := range 8 {
			key := fmt.Sprint(i)
			first = append(first, signed(id, key, 1, now))
			second = append(second, signed(id, key, 2, now+1))
		}
		second = append(second, signed(id, "8", 1, now), signed(id, "9", 1, now))
		if err := errors.Join(m.apply(first, id.ID(), time.Now()), m.apply(second, id.ID(), time.Now())); err != nil || m.Len() != 10 {
			t.Errorf("%d keys of 10: %v", m.Len(), err)
		}
	}, func(_ int, c *Config) { c.MaxEntries = 10 })
}

// A deadline that a step of an exchange sets cannot undo the end of the context.
func TestPatienceEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		st := &patientStream{Stream: pipeStream{a}}
		defer st.Close()
		defer st.endWith(ctx)()
		cancel()
		synctest.Wait()
		st.goOn()
		st.until(time.Time{})
		start := time.Now()
		if _, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 0 {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
	})
}

func TestMergeMayUseTheMapAndPanic(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		r.set(0, "n", 1)
		r.set(1, "n", 2)
		r.link(0, 1, true)
		time.Sleep(5 * time.Second)
		if got := r.contents(0)["n"]; got != r.contents(1)["n"] {
			t.Error("a merge function that panics divides the room")
		}
	}, func(_ int, c *Config) {
		c.Merge = func(string, Entry, Entry) (any, error) { panic("on purpose") }
	})
}

func TestComparedAgain(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		r.link(0, 1, true)
		time.Sleep(time.Second)
		// What the network lost: node 0 has an entry that it told nobody of.
		if _, err := r.nodes[0].m.merge([]*Entry{signed(identity(9), "k", 1, millis(time.Now()))}, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(compareEvery + time.Second)
		r.wantAll(map[string]string{"k": "1"})
	})
}

func TestSetErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, 1).nodes[0].m
		for name, err := range map[string]error{
			"empty key":   m.Set("", 1),
			"long key":    m.Set(strings.Repeat("k", MaxKey+1), 1),
			"no UTF-8":    m.Set("\xff", 1),
			"large value": m.Set("k", make([]byte, MaxValue)),
			"a channel":   m.Set("k", make(chan int)),
			"too deep":    m.Set("k", nested(25)),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func nested(levels int) any {
	var v any = 1
	for range levels {
		v = []any{v}
	}
	return v
}

func TestDeepestValueReplicates(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		r.set(0, "deep", nested(24))
		if err := r.nodes[0].Push(t.Context(), "m", r.nodes[1].id.ID()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWatch(t *testing.T) {
	inRoom(t, 2, func(t *testing.T, r *room) {
		ctx, cancel := context.WithCancel(t.Context())
		changes := r.nodes[1].m.Watch(ctx, "a/")
		r.link(0, 1, true)
		for i := range 100 {
			r.set(0, "a/x", i)
		}
		r.set(0, "b/x", 1)
		if err := r.nodes[0].m.Delete("a/y"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		seen := 0
		var last Change
		deleted := false
		for open := true; open; {
			select {
			case c := <-changes:
				seen++
				deleted = deleted || (c.Key == "a/y" && c.Deleted)
				if c.Key == "a/x" {
					last = c
				}
			case <-time.After(time.Second):
				open = false
			}
		}
		var v int
		if err := decMode.Unmarshal(last.Value, &v); err != nil || v != 99 || seen > 5 || !deleted {
			t.Errorf("%d changes for a reader that came late, the last %d (%v), deletion seen %v", seen, v, err, deleted)
		}
		cancel()
		if _, ok := <-changes; ok {
			t.Error("the channel is open after the context ended")
		}
	})
}

func TestFileKeepsTheMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.db")
	open := func() (*Service, *Map, Store) {
		st, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := NewService(ServiceConfig{Identity: identity(1)})
		m, err := s.Open(Config{Name: "m", Store: st})
		if err != nil {
			t.Fatal(err)
		}
		return s, m, st
	}
	s, m, st := open()
	if err := errors.Join(m.Set("a", 1), m.Set("b", 2), m.Delete("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	before := m.hashes()
	_ = s.Close()
	_ = st.Close()
	s, m, st = open()
	defer st.Close()
	defer s.Close()
	if keys := m.Keys(""); !slices.Equal(keys, []string{"b"}) || !bytes.Equal(before, m.hashes()) {
		t.Errorf("keys after opening again: %v", keys)
	}
}

// writeUntilKilled is the child of TestKilledWhileWriting: it tells each write
// that is stored.
func writeUntilKilled(path string) {
	st, err := OpenFile(path)
	if err != nil {
		panic(err)
	}
	s := NewService(ServiceConfig{Identity: identity(1)})
	m, err := s.Open(Config{Name: "m", Store: st})
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if err := m.Set(fmt.Sprint("key", i), strings.Repeat("v", 5000)); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

func TestKilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STATE_TEST_CHILD="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stored := -1
	for stored < 20 {
		if _, err := fmt.Fscan(out, &stored); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Process.Kill()
	for {
		var more int
		if _, err := fmt.Fscan(out, &more); err != nil {
			break
		}
		stored = more
	}
	_ = cmd.Wait()
	st, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s := NewService(ServiceConfig{Identity: identity(1)})
	defer s.Close()
	m, err := s.Open(Config{Name: "m", Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Len(); n < stored+1 {
		t.Errorf("%d keys after the kill, %d were stored", n, stored+1)
	}
}

func FuzzReadEntries(f *testing.F) {
	var b bytes.Buffer
	_ = writeEntries(&b, []*Entry{signed(identity(1), "k", "v", 1)}, true)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, _, err := readEntries(bytes.NewReader(b), "m")
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.verify("m") != nil || CheckKey(e.Key) != nil {
				t.Fatalf("took %+v", e)
			}
		}
	})
}

// FuzzServe feeds a stream of arbitrary bytes to a service.
func FuzzServe(f *testing.F) {
	var b bytes.Buffer
	_ = writeFrame(&b, helloFrame{Map: "m", Pull: true, Push: true, Hashes: make([]byte, 4096)})
	_ = writeEntries(&b, []*Entry{signed(identity(1), "k", "v", 1)}, true)
	f.Add(b.Bytes())
	s := NewService(ServiceConfig{Identity: identity(0)})
	m, err := s.Open(Config{Name: "m", MaxEntries: 100})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = s.ServeStream(t.Context(), identity(1).ID(), &bytesStream{in: bytes.NewReader(b)})
		if m.Len() > 100 {
			t.Fatal("the map grew beyond its limit")
		}
	})
}

// bytesStream is a Stream that ends with its bytes.
type bytesStream struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *bytesStream) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *bytesStream) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *bytesStream) Close() error                { return nil }
func (s *bytesStream) CloseWrite() error           { return nil }
func (s *bytesStream) SetDeadline(time.Time) error { return nil }
