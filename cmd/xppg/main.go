// Command xppg connects peers behind NATs, sends files and messages between
// them, keeps state in step and simulates networks. Run "xppg --help".
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked did not come true
	exitUsage  = 2 // what was asked makes no sense
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, io stdio) int {
	app := &app{io: io}
	cmd := app.rootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(io.in)
	cmd.SetOut(io.out)
	cmd.SetErr(io.err)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	}
	app.report(err)
	if app.started {
		return exitFailed
	}
	return exitUsage
}

// errReported ends a command that has already said what failed.
var errReported = errors.New("reported")
