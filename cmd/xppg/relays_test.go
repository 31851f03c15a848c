package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// One node that answers is enough, whichever it is; the others are not waited for.
func TestJoinAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(ctx context.Context, target string) error {
			if target == "there" {
				time.Sleep(time.Second)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		start := time.Now()
		if err := joinAny(t.Context(), []string{"nobody", "there", "nobody else"}, silent); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// When none answers, it is told of each what was wrong.
func TestJoinAnyFails(t *testing.T) {
	refusals := map[string]error{"a": errors.New("refused"), "b": errors.New("no answer")}
	err := joinAny(t.Context(), []string{"a", "b"}, func(_ context.Context, target string) error { return refusals[target] })
	for target, cause := range refusals {
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), "--join "+target+": "+cause.Error()) {
			t.Errorf("%s: %v", target, err)
		}
	}
}
