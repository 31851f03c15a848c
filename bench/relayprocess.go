package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// relayEnv names the relay that this program is to be, when it was started by itself.
	relayEnv = "XPPG_BENCH_RELAY"
	// profileEnv is the file for its CPU profile, and empty for none.
	profileEnv = "XPPG_BENCH_RELAY_PROFILE"
)

// relayProfile is the beginning of the names of the CPU profiles of relays, to which their names are added. Empty means none.
var relayProfile string

// A relayMain runs a relay until in ends. It tells its parent on out what is to be known of it, in lines.
type relayMain func(ctx context.Context, in *bufio.Reader, out io.Writer) error

var relayMains = map[string]relayMain{"xppg": relayXPPG, "bare": relayBare, "libp2p": relayLibp2p}

// beRelay reports whether this process was started as a relay, and has been one.
func beRelay() bool {
	run, ok := relayMains[os.Getenv(relayEnv)]
	if !ok {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bufio.NewReader(os.Stdin)
	stop, err := startProfile(os.Getenv(profileEnv))
	if err == nil {
		err = run(ctx, in, os.Stdout)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: relay:", err)
		os.Exit(1)
	}
	return true
}

// waitEOF returns when the parent is done with the relay, or gone.
func waitEOF(in io.Reader) { _, _ = io.Copy(io.Discard, in) }

// A relayProcess is a relay in a process of its own.
type relayProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startSelf starts this program again as a relay.
func startSelf(name string) (*relayProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), exe)
	cmd.Env = append(os.Environ(), relayEnv+"="+name)
	if relayProfile != "" {
		cmd.Env = append(cmd.Env, profileEnv+"="+relayProfile+name)
	}
	return startRelay(cmd)
}

func startRelay(cmd *exec.Cmd) (*relayProcess, error) {
	r := &relayProcess{cmd: cmd}
	cmd.Stderr = os.Stderr
	var err error
	if r.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(out)
	return r, onFirst(cmd.Start)
}

// line reads what the relay says next.
func (r *relayProcess) line() (string, error) {
	s, err := r.out.ReadString('\n')
	return strings.TrimSpace(s), err
}

func (r *relayProcess) pid() int { return r.cmd.Process.Pid }

// stop ends the process and waits for it.
func (r *relayProcess) stop() error {
	_ = r.in.Close()
	if relayProfile == "" { // otherwise it ends by itself, when it has written it
		_ = r.cmd.Process.Kill()
	}
	alarm := time.AfterFunc(5*time.Second, func() { _ = r.cmd.Process.Kill() })
	defer alarm.Stop()
	return r.cmd.Wait()
}

// cpuTime is how long the process has computed, in user mode and in the kernel, to 10 ms. 0 where that is not told.
func (r *relayProcess) cpuTime() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid()))
	if err != nil {
		return 0
	}
	// After the name, in parentheses, come the state and ten more; then utime and stime in hundredths of a second.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
