package relayops

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/2xppg/xppg/internal/units"
)

// Limits are what a relay gives, in bytes per second, circuits at once, and bytes and time of one circuit. 0 is no limit, but for Circuits.
type Limits struct {
	Total, Peer, Circuit units.Rate
	Circuits             int
	CircuitBytes         units.Bytes
	CircuitTime          units.Time
}

// Node is a relay that can be operated while it runs.
type Node interface {
	Snapshot() Snapshot
	// Configure puts limits and lists into force, all of them or, after an error, none.
	Configure(Limits, Lists) error
	// Drain takes no more circuits and asks peers to move to other relays. It returns true when none is left,
	// and false when ctx ends before that.
	Drain(ctx context.Context) bool
}

// Operator runs a Node as its operator wants it. Its methods may be called from any goroutine.
type Operator struct {
	Node         Node
	Load         func() (Limits, Lists, error) // reads the files again
	DrainTimeout time.Duration
	Log          func(Event)

	mu    sync.Mutex
	state State
}

// Event is what an operator is told: what happened, in a word, and for a reload, why it failed.
type Event struct {
	What  string // "reloaded", "draining", "drained" or, when some circuits are cut, "cut"
	Err   error
	State State
}

// State returns what is in force.
func (o *Operator) State() State {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// Serve serves metrics and health over HTTP at a TCP address. version is that of the program. The caller closes the server.
func (o *Operator) Serve(ctx context.Context, addr, version string) (*Server, error) {
	reg, err := NewRegistry(version, o.Node.Snapshot, o.State)
	if err != nil {
		return nil, err
	}
	return Serve(ctx, addr, Handler(reg, o.State))
}

// Start puts limits and lists into force.
func (o *Operator) Start(l Limits, lists Lists) error {
	if err := o.Node.Configure(l, lists); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state.Limits, o.state.Lists, o.state.Ready = l, lists, true
	return nil
}

// Run obeys signals until the node is to end: SIGHUP reloads limits and lists, any other one drains and returns. Another
// signal while draining, other than SIGHUP, returns at once; so does the end of ctx.
func (o *Operator) Run(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s != syscall.SIGHUP {
				o.drain(ctx, signals)
				return
			}
			o.Reload()
		}
	}
}

// Reload reads the files again. When one of them is bad, everything stays as it was.
func (o *Operator) Reload() {
	l, lists, err := o.Load()
	if err == nil {
		err = o.Node.Configure(l, lists)
	}
	o.mu.Lock()
	o.state.ReloadFailed = err != nil
	if err == nil {
		o.state.Reloads++
		o.state.Limits, o.state.Lists = l, lists
	} else {
		o.state.FailedReloads++
	}
	state := o.state
	o.mu.Unlock()
	o.Log(Event{What: "reloaded", Err: err, State: state})
}

func (o *Operator) drain(ctx context.Context, signals <-chan os.Signal) {
	o.mu.Lock()
	o.state.Draining = true
	state := o.state
	o.mu.Unlock()
	o.Log(Event{What: "draining", State: state})
	ctx, cancel := context.WithTimeout(ctx, o.DrainTimeout)
	defer cancel()
	drained := make(chan bool, 1)
	go func() { drained <- o.Node.Drain(ctx) }()
	for {
		select {
		case all := <-drained:
			what := "drained"
			if !all {
				what = "cut"
			}
			o.Log(Event{What: what, State: state})
			return
		case s := <-signals:
			if s != syscall.SIGHUP {
				cancel()
			}
		}
	}
}
