package scenario

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// An introducer that sleeps for a while, whatever its programs do meanwhile, answers when it wakes.
func TestIntroducerSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, PunchConfig{})
		defer s.close()
		s.world.R.Host.Pause()
		time.AfterFunc(5*time.Second, s.world.R.Host.Resume)
		start := time.Now()
		_, err := s.a.call(t.Context(), s.linkA, s.s.ep.ID())
		var refused *relaymesh.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// The machine of the introducer crashes: its own side ends with the socket's error, the peers' after their silence, and
// none of them hangs.
func TestIntroducerCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, PunchConfig{})
		defer s.close()
		own := s.r.ep.Link(s.a.ep.ID())
		s.world.R.Host.Crash()
		wait := func(l *kcptransport.Link) error {
			select {
			case <-l.Done():
				return l.Err()
			case <-time.After(5 * time.Minute):
				return nil
			}
		}
		if err := wait(own); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("its own link: %v", err)
		}
		var gone *kcptransport.GoneError
		if err := wait(s.linkA); !errors.As(err, &gone) {
			t.Errorf("A's link: %v", err)
		}
	})
}
