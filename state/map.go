package state

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/2xppg/xppg/kcptransport"
)

// Defaults of a Config.
const (
	defaultMaxEntries = 100_000
	defaultMaxDrift   = time.Minute
	tombstoneLife     = 7 * 24 * time.Hour
	forgetEvery       = time.Minute
	maxName           = 64
)

// Config configures a map. Only Name is required.
type Config struct {
	// Name tells the maps of a room apart, 1 to 64 bytes.
	Name string

	// Store keeps the map; nil keeps it in memory. The map does not close it.
	Store Store

	// Merge combines two values of a key that were written without knowledge of
	// each other, a before b. It must be pure: every node computes it for itself.
	// Without it, or when it fails, the later write wins. It does not see writes
	// that were older than a base: see the package comment.
	Merge func(key string, a, b Entry) (any, error)

	// MaxEntries bounds the keys, deleted ones included. Default 100,000.
	MaxEntries int

	// MaxDrift is how far ahead of our clock a write may be. Default 1 minute.
	MaxDrift time.Duration
}

// Errors of a map.
var (
	ErrClosed = errors.New("state: the map is closed")
	ErrFull   = errors.New("state: the map has as many keys as Config.MaxEntries allows")
)

// A Map is a replicated map. Its methods may be called from any goroutine.
type Map struct {
	cfg      Config
	identity *kcptransport.Identity
	changed  func(keys []string, from *kcptransport.PeerID) // tells the service what to pass on

	mu       sync.Mutex
	clock    clock
	keys     map[string]siblings
	buckets  [buckets][16]byte // XOR of the hashes of the keys in each
	watchers map[*watcher]bool
	watching sync.WaitGroup
	refused  uint64
	forgotAt time.Time // when old deletions were looked for last
	closed   bool
}

const buckets = 256

// CheckName returns why a map cannot have a name, if it cannot.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("state: a map's name has 1 to %d bytes of UTF-8, %q has %d", maxName, name, len(name))
	}
	return nil
}

func newMap(cfg Config, id *kcptransport.Identity, now time.Time, changed func([]string, *kcptransport.PeerID)) (*Map, error) {
	if err := CheckName(cfg.Name); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		cfg.Store = memory{}
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = defaultMaxEntries
	}
	if cfg.MaxDrift == 0 {
		cfg.MaxDrift = defaultMaxDrift
	}
	m := &Map{cfg: cfg, identity: id, changed: changed, keys: map[string]siblings{}, watchers: map[*watcher]bool{}}
	if err := m.load(now); err != nil {
		return nil, fmt.Errorf("state: map %q: %w", cfg.Name, err)
	}
	return m, nil
}

// load reads the store, and forgets deletions that are old enough.
func (m *Map) load(now time.Time) error {
	old := map[string][]byte{}
	err := m.cfg.Store.Load(func(key string, data []byte) error {
		var ws []wireEntry
		if err := decMode.Unmarshal(data, &ws); err != nil {
			return fmt.Errorf("the store is damaged at key %q: %w", key, err)
		}
		var s siblings
		for _, w := range ws {
			e, err := w.unpack()
			if err != nil {
				return fmt.Errorf("the store is damaged at key %q: %w", key, err)
			}
			m.clock.see(e.Version)
			s, _ = s.add(e)
		}
		if s.forgettable(now) {
			old[key] = nil
			return nil
		}
		m.put(key, s)
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return m.cfg.Store.Save(old)
}

// forgettable reports whether a key was deleted long enough ago.
func (s siblings) forgettable(now time.Time) bool {
	return len(s) > 0 && s[0].Deleted && now.Sub(s[0].Version.Time()) > tombstoneLife
}

// put replaces the siblings of a key. m.mu is held.
func (m *Map) put(key string, s siblings) {
	h, g := m.keys[key].hash(), s.hash()
	b := &m.buckets[bucketOf(key)]
	for i := range b {
		b[i] ^= h[i] ^ g[i]
	}
	m.keys[key] = s
}

// Name returns the map's name.
func (m *Map) Name() string { return m.cfg.Name }

// Set writes a value, anything that CBOR can carry up to 64 KiB encoded. When
// it returns, the value is stored here; peers get it as soon as they can.
func (m *Map) Set(key string, value any) error {
	raw, err := encMode.Marshal(value)
	if err != nil {
		return fmt.Errorf("state: value of key %q cannot be encoded as CBOR: %w", key, err)
	}
	if err := checkValue(raw); err != nil {
		return fmt.Errorf("state: value of key %q: %w", key, err)
	}
	return m.write(&Entry{Key: key, Value: raw})
}

// Delete removes a key. That it is gone is remembered for a week.
func (m *Map) Delete(key string) error { return m.write(&Entry{Key: key, Deleted: true}) }

func (m *Map) write(e *Entry) error {
	if err := CheckKey(e.Key); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	s := m.keys[e.Key]
	if len(s) > 0 {
		e.Base = s[0].Version
	} else if m.full(0, time.Now()) {
		m.mu.Unlock()
		return ErrFull
	}
	e.Version.Wall, e.Version.Counter = m.clock.tick(time.Now())
	e.Version.Author = m.identity.ID()
	e.Sig = m.identity.Sign(e.signedBytes(m.cfg.Name))
	next, _ := s.add(e)
	if err := m.cfg.Store.Save(map[string][]byte{e.Key: packSiblings(next)}); err != nil {
		m.mu.Unlock()
		return err
	}
	m.put(e.Key, next)
	m.tellWatchers(e.Key)
	m.mu.Unlock()
	m.changed([]string{e.Key}, nil)
	return nil
}

func packSiblings(s siblings) []byte {
	ws := make([]wireEntry, len(s))
	for i, e := range s {
		ws[i] = e.pack()
	}
	return mustMarshal(ws)
}

// apply takes in entries of a peer, which were verified, and passes on what was
// news. Its error tells of those that were refused.
func (m *Map) apply(entries []*Entry, from kcptransport.PeerID, now time.Time) error {
	keys, err := m.merge(entries, now)
	if len(keys) > 0 {
		m.changed(keys, &from)
	}
	return err
}

// merge takes in entries and returns the keys to which they were news.
func (m *Map) merge(entries []*Entry, now time.Time) (keys []string, refused error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	news := map[string]siblings{}
	added := 0 // keys among news that we did not have
	for _, e := range entries {
		err := e.checkDrift(now, m.cfg.MaxDrift)
		s, ok := news[e.Key]
		if !ok {
			s = m.keys[e.Key]
		}
		if len(s) == 0 && (siblings{e}).forgettable(now) {
			continue // forgotten here already
		}
		if err == nil && len(s) == 0 && m.full(added, now) {
			err = ErrFull
		}
		if err != nil {
			m.refused++
			refused = errors.Join(refused, err)
			continue
		}
		m.clock.see(e.Version)
		if next, fresh := s.add(e); fresh {
			if len(s) == 0 {
				added++
			}
			news[e.Key] = next
		}
	}
	if len(news) == 0 {
		return nil, refused
	}
	changes := make(map[string][]byte, len(news))
	for k, s := range news {
		changes[k] = packSiblings(s)
		keys = append(keys, k)
	}
	if err := m.cfg.Store.Save(changes); err != nil {
		return nil, errors.Join(refused, err)
	}
	slices.Sort(keys)
	for _, k := range keys {
		m.put(k, news[k])
		m.tellWatchers(k)
	}
	return keys, refused
}

// full reports whether there is no room for a key beside more others. Deletions
// that are old enough make room. m.mu is held.
func (m *Map) full(more int, now time.Time) bool {
	if len(m.keys)+more < m.cfg.MaxEntries {
		return false
	}
	m.forget(now)
	return len(m.keys)+more >= m.cfg.MaxEntries
}

// forget drops deletions that are old enough. It looks at every key, so it does
// so once a minute at most, however often a peer makes us ask. m.mu is held.
func (m *Map) forget(now time.Time) {
	if !m.forgotAt.IsZero() && now.Sub(m.forgotAt) < forgetEvery {
		return
	}
	m.forgotAt = now
	old := map[string][]byte{}
	for key, s := range m.keys {
		if s.forgettable(now) {
			old[key] = nil
		}
	}
	if len(old) == 0 || m.cfg.Store.Save(old) != nil {
		return // a store that fails now is asked again
	}
	for key := range old {
		m.put(key, nil)
		delete(m.keys, key)
	}
}

// forgetOld forgets before two maps are compared, so that both leave out the same.
func (m *Map) forgetOld(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
}

// live returns the siblings to read a key from, oldest first, and the version
// of its newest write.
func (m *Map) live(key string) ([]*Entry, Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.keys[key]
	if len(s) == 0 {
		return nil, Version{}
	}
	return s.live(), s[0].Version
}

// fold computes the value of siblings, oldest first. It is called without
// m.mu, because Merge is the application's.
func (m *Map) fold(key string, live []*Entry) (value cbor.RawMessage) {
	newest := live[len(live)-1].Value
	if m.cfg.Merge == nil || len(live) == 1 {
		return newest
	}
	// A merge function that panics on what a peer wrote must not end the process.
	defer func() {
		if recover() != nil {
			value = newest
		}
	}()
	acc := *live[0]
	for _, e := range live[1:] {
		v, err := m.cfg.Merge(key, acc, *e)
		if err != nil {
			return newest
		}
		raw, err := encMode.Marshal(v)
		if err != nil {
			return newest
		}
		acc = *e
		acc.Value = raw
	}
	return acc.Value
}

// Get stores the value of a key in v and reports whether there is one.
func (m *Map) Get(key string, v any) (bool, error) {
	raw, ok := m.Raw(key)
	if !ok {
		return false, nil
	}
	if err := decMode.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("state: value of key %q: %w", key, err)
	}
	return true, nil
}

// Raw returns the value of a key as CBOR, which must not be changed.
func (m *Map) Raw(key string) (cbor.RawMessage, bool) {
	live, _ := m.live(key)
	if len(live) == 0 {
		return nil, false
	}
	return m.fold(key, live), true
}

// Version returns the version of a key's newest write; false when there is no
// such key.
func (m *Map) Version(key string) (Version, bool) {
	live, v := m.live(key)
	return v, len(live) > 0
}

// Keys returns the keys that begin with prefix, sorted.
func (m *Map) Keys(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for k, s := range m.keys {
		if strings.HasPrefix(k, prefix) && len(s.live()) > 0 {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// All iterates over the keys that begin with prefix, sorted, and their values
// as CBOR. The map may change meanwhile.
func (m *Map) All(prefix string) iter.Seq2[string, cbor.RawMessage] {
	return func(yield func(string, cbor.RawMessage) bool) {
		for _, k := range m.Keys(prefix) {
			if raw, ok := m.Raw(k); ok && !yield(k, raw) {
				return
			}
		}
	}
}

// Len returns how many keys have a value.
func (m *Map) Len() int { return len(m.Keys("")) }

// Refused returns how many entries of peers were refused: from too far in the
// future, or beyond the limit of keys.
func (m *Map) Refused() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// hashes returns what two nodes compare.
func (m *Map) hashes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]byte, 0, buckets*16)
	for _, b := range m.buckets {
		out = append(out, b[:]...)
	}
	return out
}

// entries returns the entries of keys that are wanted, sorted by key.
func (m *Map) entries(want func(key string) bool) []*Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for k := range m.keys {
		if want(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []*Entry
	for _, k := range keys {
		out = append(out, m.keys[k]...)
	}
	return out
}

// entriesOf returns the entries of some keys.
func (m *Map) entriesOf(keys []string) []*Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Entry
	for _, k := range keys {
		out = append(out, m.keys[k]...)
	}
	return out
}

// close ends the watches and waits for them.
func (m *Map) close() {
	m.mu.Lock()
	m.closed = true
	for w := range m.watchers {
		w.stop()
	}
	m.mu.Unlock()
	m.watching.Wait()
}
