package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/state"
)

// states is the part of a playground that keeps replicated maps.
type states struct {
	pg  *Playground
	svc *state.Service

	mu     sync.Mutex
	maps   map[string]*state.Map
	stores []state.Store
}

func newStates(pg *Playground) *states {
	s := &states{pg: pg, maps: map[string]*state.Map{}}
	s.svc = state.NewService(state.ServiceConfig{
		Identity: pg.cfg.Identity,
		OnError: func(id kcptransport.PeerID, err error) {
			if _, gone := pg.peer(id); gone == nil { // that a peer left is told by an event of its own
				pg.note(id, err)
			}
		},
		Opener: state.OpenerFunc(func(ctx context.Context, id kcptransport.PeerID, kind string) (state.Stream, error) {
			p, err := pg.peer(id)
			if err != nil {
				return nil, err
			}
			return p.open(ctx, kind)
		}),
	})
	return s
}

// State returns the replicated map of this name, opening it when needed. Every
// connected peer that has a map of the name keeps it in step with ours, at once
// and when it was away. With Config.StateDir it is kept in a file.
func (pg *Playground) State(name string) (*state.Map, error) {
	return pg.StateWith(state.Config{Name: name})
}

// StateWith is State with a merge function or limits of one's own. They count
// when the map is opened first; Store is set when Config.StateDir is.
func (pg *Playground) StateWith(cfg state.Config) (*state.Map, error) {
	s := pg.states
	s.mu.Lock()
	defer s.mu.Unlock()
	if pg.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if m := s.maps[cfg.Name]; m != nil {
		return m, nil
	}
	if pg.cfg.StateDir != "" && cfg.Store == nil {
		store, err := s.openStore(cfg.Name)
		if err != nil {
			return nil, err
		}
		cfg.Store = store
	}
	m, err := s.svc.Open(cfg)
	if err != nil {
		return nil, err
	}
	s.maps[cfg.Name] = m
	return m, nil
}

func (s *states) openStore(name string) (state.Store, error) {
	if name == "" || strings.ContainsAny(name, `/\:`) || name[0] == '.' {
		return nil, fmt.Errorf("api: %q cannot be the name of a map that is kept in a file", name)
	}
	if err := os.MkdirAll(s.pg.cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("api: folder for state: %w", err)
	}
	store, err := state.OpenFile(filepath.Join(s.pg.cfg.StateDir, name+".db"))
	if err == nil {
		s.stores = append(s.stores, store)
	}
	return store, err
}

// PushState brings connected peers up to date with our map: all of them when
// none is named. It returns when they have taken everything in.
func (pg *Playground) PushState(ctx context.Context, name string, to ...kcptransport.PeerID) error {
	return pg.eachPeer(name, to, func(id kcptransport.PeerID) error { return pg.states.svc.Push(ctx, name, id) })
}

// RequestState brings our map up to date with those of connected peers: of all
// of them when none is named.
func (pg *Playground) RequestState(ctx context.Context, name string, from ...kcptransport.PeerID) error {
	return pg.eachPeer(name, from, func(id kcptransport.PeerID) error { return pg.states.svc.Request(ctx, name, id) })
}

func (pg *Playground) eachPeer(name string, ids []kcptransport.PeerID, do func(kcptransport.PeerID) error) error {
	if _, err := pg.State(name); err != nil {
		return err
	}
	if len(ids) == 0 {
		for _, p := range pg.readyPeers() {
			ids = append(ids, p.id)
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("api: state %q: %w to any peer (join one first)", name, ErrNotConnected)
	}
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() { errs[i] = do(id) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *states) serve(ctx context.Context, from kcptransport.PeerID, st *kcptransport.Stream) error {
	return s.svc.ServeStream(ctx, from, st)
}

func (s *states) attach(id kcptransport.PeerID) { s.svc.Attach(id) }
func (s *states) detach(id kcptransport.PeerID) { s.svc.Detach(id) }

func (s *states) close() error {
	err := s.svc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.stores {
		err = errors.Join(err, st.Close())
	}
	return err
}
