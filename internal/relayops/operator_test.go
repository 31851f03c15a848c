package relayops

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// fakeNode is a relay whose peers take a while to move away.
type fakeNode struct {
	limits   Limits
	lists    Lists
	err      error
	moveTime time.Duration
	drained  bool
}

func (n *fakeNode) Snapshot() Snapshot { return Snapshot{Peers: 3} }

func (n *fakeNode) Configure(l Limits, lists Lists) error {
	if n.err == nil {
		n.limits, n.lists = l, lists
	}
	return n.err
}

func (n *fakeNode) Drain(ctx context.Context) bool {
	select {
	case <-ctx.Done():
	case <-time.After(n.moveTime):
		n.drained = true
	}
	return n.drained
}

// operate runs an operator for the node in a bubble, and gives what it logs.
func operate(t *testing.T, n *fakeNode, story func(o *Operator, signals chan<- os.Signal, ended <-chan struct{}, log *[]Event)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log []Event
		o := &Operator{Node: n, DrainTimeout: 10 * time.Second, Log: func(e Event) { log = append(log, e) }}
		o.Load = func() (Limits, Lists, error) { return Limits{Total: 2}, Lists{Deny: &List{}}, nil }
		if err := o.Start(Limits{Total: 1}, Lists{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		signals, ended := make(chan os.Signal, 1), make(chan struct{})
		go func() {
			defer close(ended)
			o.Run(ctx, signals)
		}()
		story(o, signals, ended, &log)
		cancel()
		<-ended
	})
}

func TestReloadIsAllOrNothing(t *testing.T) {
	n := &fakeNode{}
	operate(t, n, func(o *Operator, signals chan<- os.Signal, _ <-chan struct{}, log *[]Event) {
		load := o.Load
		o.Load = func() (Limits, Lists, error) { return Limits{Total: 9}, Lists{}, errors.New("deny:3: nonsense") }
		signals <- syscall.SIGHUP
		synctest.Wait()
		if s := o.State(); n.limits.Total != 1 || s.Limits.Total != 1 || !s.ReloadFailed || s.FailedReloads != 1 || s.Reloads != 0 {
			t.Errorf("after a bad file: node %v, %+v", n.limits, s)
		}
		if (*log)[0].Err == nil {
			t.Error("nobody is told that the file is bad")
		}
		n.err, o.Load = errors.New("not possible"), load
		signals <- syscall.SIGHUP
		synctest.Wait()
		if s := o.State(); s.Limits.Total != 1 || s.FailedReloads != 2 {
			t.Errorf("after the node refused: %+v", s)
		}
		n.err = nil
		signals <- syscall.SIGHUP
		synctest.Wait()
		if s := o.State(); n.limits.Total != 2 || n.lists.Deny == nil || s.Limits.Total != 2 || s.ReloadFailed || s.Reloads != 1 {
			t.Errorf("after a good file: node %v, %+v", n.limits, s)
		}
	})
}

func TestDrainEndsWhenThePeersAreGone(t *testing.T) {
	n := &fakeNode{moveTime: 3 * time.Second}
	operate(t, n, func(o *Operator, signals chan<- os.Signal, ended <-chan struct{}, log *[]Event) {
		begin := time.Now()
		signals <- syscall.SIGTERM
		synctest.Wait()
		if !o.State().Draining {
			t.Error("not draining")
		}
		signals <- syscall.SIGHUP // disturbs nothing
		<-ended
		if took := time.Since(begin); took != 3*time.Second || !n.drained {
			t.Errorf("ended after %v, drained: %v", took, n.drained)
		}
		if last := (*log)[len(*log)-1]; last.What != "drained" {
			t.Errorf("said at the end: %+v", last)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	n := &fakeNode{moveTime: time.Hour}
	operate(t, n, func(_ *Operator, signals chan<- os.Signal, ended <-chan struct{}, log *[]Event) {
		begin := time.Now()
		signals <- os.Interrupt
		<-ended
		if took := time.Since(begin); took != 10*time.Second || n.drained {
			t.Errorf("ended after %v, drained: %v", took, n.drained)
		}
		if last := (*log)[len(*log)-1]; last.What != "cut" {
			t.Errorf("said at the end: %+v", last)
		}
	})
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	operate(t, &fakeNode{moveTime: time.Hour}, func(_ *Operator, signals chan<- os.Signal, ended <-chan struct{}, _ *[]Event) {
		begin := time.Now()
		signals <- syscall.SIGTERM
		synctest.Wait()
		signals <- syscall.SIGTERM
		<-ended
		if took := time.Since(begin); took != 0 {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestANodeThatTakesNoLimitsDoesNotStart(t *testing.T) {
	o := &Operator{Node: &fakeNode{err: errors.New("no")}}
	if err := o.Start(Limits{}, Lists{}); err == nil || !strings.Contains(err.Error(), "no") || o.State().Ready {
		t.Errorf("%v, %+v", err, o.State())
	}
}
