package matrix

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a goroutine is left. kcp-go starts a scheduler of its own at init, which is not used.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.(*TimedSched).sched"),
		goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.(*TimedSched).prepend"))
}
