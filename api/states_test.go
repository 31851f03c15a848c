package api

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/state"
)

// union merges two lists of words.
func union(_ string, a, b state.Entry) (any, error) {
	var all []string
	for _, e := range []state.Entry{a, b} {
		var more []string
		if err := cbor.Unmarshal(e.Value, &more); err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (n *node) state(name string) *state.Map {
	n.w.t.Helper()
	m, err := n.StateWith(state.Config{Name: name, Merge: union})
	if err != nil {
		n.w.t.Fatal(err)
	}
	return m
}

func words(m *state.Map, key string) []string {
	var v []string
	_, _ = m.Get(key, &v)
	return v
}

// Three nodes write to one map, at the same time too, and one of them is away for a while: in the end all have the same.
func TestState(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.public()
		b, c := w.behind(netsim.Presets["port-restricted"]), w.behind(netsim.Presets["symmetric"])
		b.join(a.addr)
		c.join(a.addr)
		maps3 := []*state.Map{a.state("things"), b.state("things"), c.state("things")}
		set := func(m *state.Map, key string, v ...string) {
			if err := m.Set(key, v); err != nil {
				t.Error(err)
			}
		}
		same := func(want map[string][]string) func() bool {
			return func() bool {
				for _, m := range maps3 {
					got := map[string][]string{}
					for key := range m.All("") {
						got[key] = words(m, key)
					}
					if !maps.EqualFunc(got, want, slices.Equal) {
						return false
					}
				}
				return true
			}
		}
		set(maps3[0], "fruit", "apple")
		w.eventually("all know of it", 2*time.Second, same(map[string][]string{"fruit": {"apple"}}))
		if v, ok := maps3[2].Version("fruit"); !ok || v.Author != a.ID() {
			t.Errorf("version %+v", v)
		}
		set(maps3[1], "fruit", "banana")
		set(maps3[2], "fruit", "cherry") // neither has seen the other's
		w.eventually("both are there", 2*time.Second, same(map[string][]string{"fruit": {"banana", "cherry"}}))
		b.host.Unplug(time.Minute)
		set(maps3[0], "nuts", "walnut")
		set(maps3[1], "nuts", "hazel")
		set(maps3[1], "bread", "rye")
		if err := maps3[2].Delete("fruit"); err != nil {
			t.Error(err)
		}
		w.eventually("who was away has caught up", 3*time.Minute,
			same(map[string][]string{"nuts": {"hazel", "walnut"}, "bread": {"rye"}}))
	})
}
