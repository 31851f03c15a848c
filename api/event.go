package api

import (
	"net/netip"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// An EventType says what happened.
type EventType string

// The events of a playground.
const (
	EventPeer  EventType = "peer"  // a peer was connected or disconnected: see State
	EventPath  EventType = "path"  // the path to a connected peer changed
	EventError EventType = "error" // something failed that no caller waits for
)

// States of a peer in an [EventPeer] event.
const (
	StateConnected    = "connected"
	StateDisconnected = "disconnected"
)

// An Event tells the application what no call returns.
type Event struct {
	Type  EventType
	Peer  kcptransport.PeerID   // zero when the event is about no peer
	State string                // of an EventPeer: StateConnected or StateDisconnected
	Path  string                // PathDirect, PathTCP or PathRelay; empty when there is none
	Via   []kcptransport.PeerID // the relays of a relayed path, ours first
	Addr  netip.AddrPort        // where packets to the peer go, on a relayed path to the first relay
	RTT   time.Duration         // round trip on the path
	Err   error                 // of an EventError, and why a peer was disconnected
}

// eventQueue hands events to listeners one after the other, outside all locks.
type eventQueue struct {
	mu        sync.Mutex
	listeners []func(Event)
	pending   []Event
	running   bool
	closed    bool
	idle      sync.Cond // L is &mu; told when running ends
}

// maxEvents bounds the events that wait for a slow listener; beyond it new ones are lost.
const maxEvents = 4096

func newEventQueue() *eventQueue {
	q := &eventQueue{}
	q.idle.L = &q.mu
	return q
}

func (q *eventQueue) listen(f func(Event)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.listeners = append(q.listeners, f)
}

func (q *eventQueue) emit(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.listeners) == 0 || len(q.pending) >= maxEvents {
		return
	}
	q.pending = append(q.pending, e)
	if !q.running {
		q.running = true
		go q.run()
	}
}

// run delivers until nothing is left. It exists only while there are events.
func (q *eventQueue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pending) > 0 {
		e := q.pending[0]
		q.pending = q.pending[1:]
		listeners := q.listeners
		q.mu.Unlock()
		for _, f := range listeners {
			guard(func() { f(e) })
		}
		q.mu.Lock()
	}
	q.running = false
	q.idle.Broadcast()
}

// close delivers what is pending and refuses more. It waits at most for the
// listeners; a listener that closes the playground itself is not waited for.
func (q *eventQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// guard runs f and returns what it panicked with, if it did.
func guard(f func()) (panicked any) {
	defer func() { panicked = recover() }()
	f()
	return nil
}
