// Package leaks finds goroutines that tests leave behind.
package leaks

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// VerifyTestMain runs the tests of a package and exits, with a code that is not zero when a goroutine is left.
func VerifyTestMain(m *testing.M) { os.Exit(Checked{m}.Run()) }

// Checked are tests that fail when they leave a goroutine behind.
type Checked struct{ M *testing.M }

// Run runs the tests and returns their exit code. The goroutines that kcp-go starts when it is loaded, for sessions
// that nothing here uses, are not counted.
func (c Checked) Run() int {
	if code := c.M.Run(); code != 0 {
		return code
	}
	err := goleak.Find(
		goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.(*TimedSched).sched"),
		goleak.IgnoreAnyFunction("github.com/xtaci/kcp-go/v5.(*TimedSched).prepend"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
