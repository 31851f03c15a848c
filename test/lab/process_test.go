//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// event is a line that xppg --json writes; fields of other events stay zero.
type event struct {
	Event   string `json:"event"`
	Peer    string `json:"peer"`
	State   string `json:"state"`
	Path    string `json:"path"`
	Addr    string `json:"addr"`
	Ticket  string `json:"ticket"`
	Error   string `json:"error"`
	Mapping string `json:"mapping"`
	NAT     vector `json:"nat"`

	Via         []string `json:"via"`
	Public      []string `json:"public"`
	PortMapping []string `json:"port_mapping"`
	Bytes       int64    `json:"bytes"`
	Seconds     float64  `json:"seconds"`
	Seq         int      `json:"seq"`
	Sent        int      `json:"sent"`
	Received    int      `json:"received"`
	DirectAfter *float64 `json:"direct_after_ms"`
}

// vector is what netcheck tells of a NAT.
type vector struct {
	Mapping, Filtering, Ports belief[string]
	Step                      belief[int]
	Block                     belief[struct{ First, Last int }]
	Lifetime                  belief[struct {
		Min float64 `json:"min_ms"`
		Max float64 `json:"max_ms"`
	}]
	Hairpin belief[bool]
}

type belief[T any] struct {
	Is         T
	Confidence float64
}

// process is a program running in a namespace.
type process struct {
	w     *world
	title string
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended and all it wrote was read

	mu      sync.Mutex
	text    bytes.Buffer  // all it wrote
	lines   []string      // what it wrote on standard output
	changed chan struct{} // closed and replaced at every new line
}

// xppg starts the program with a configuration folder and a key of its own.
func (w *world) xppg(s *space, args ...string) *process {
	w.t.Helper()
	home := w.t.TempDir()
	args = append(args, "--json", "--identity", filepath.Join(home, "identity"))
	return w.start(s, home, append([]string{xppg(w.t)}, args...)...)
}

// start runs any program in a namespace.
func (w *world) start(s *space, home string, args ...string) *process {
	w.t.Helper()
	p := &process{w: w, title: s.name + ": " + strings.Join(args, " "), done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", s.name}, args...)...)
	p.cmd.Dir = home
	p.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which ends the rest
	stdout, err := p.cmd.StdoutPipe()
	w.must(err)
	stderr, err := p.cmd.StderrPipe()
	w.must(err)
	w.must(p.cmd.Start())
	w.processes = append(w.processes, p)
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout, true) })
	readers.Go(func() { p.read(stderr, false) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // its exit code is in ProcessState
		close(p.done)
	}()
	return p
}

func (p *process) read(r io.Reader, stdout bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		fmt.Fprintf(&p.text, "%s\n", lines.Bytes())
		if stdout {
			p.lines = append(p.lines, lines.Text())
			close(p.changed)
			p.changed = make(chan struct{})
		}
		p.mu.Unlock()
	}
}

// want waits for the first event that matches, also among those that came
// before. The test ends when the program does, or after within.
func (p *process) want(what string, within time.Duration, match func(event) bool) event {
	p.w.t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for next := 0; ; {
		p.mu.Lock()
		lines, changed := p.lines[next:], p.changed
		p.mu.Unlock()
		for _, line := range lines {
			if e := p.parse(line); match(e) {
				return e
			}
		}
		if next += len(lines); len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-p.done:
			p.w.t.Fatalf("%s ended (%v) without %s", p.title, p.cmd.ProcessState, what)
		case <-timeout.C:
			p.w.t.Fatalf("%s: no %s within %v", p.title, what, within)
		}
	}
}

// wantEvent waits for an event by name.
func (p *process) wantEvent(name string, within time.Duration) event {
	p.w.t.Helper()
	return p.want(name, within, func(e event) bool { return e.Event == name })
}

// wantExit waits for the end of the program and returns its exit code and all
// its events.
func (p *process) wantExit(within time.Duration) (code int, events []event) {
	p.w.t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.w.t.Fatalf("%s: still running after %v", p.title, within)
	}
	for _, line := range p.lines {
		events = append(events, p.parse(line))
	}
	return p.cmd.ProcessState.ExitCode(), events
}

// interrupt ends the program as Ctrl-C does and waits until it has ended.
func (p *process) interrupt(within time.Duration) {
	p.w.t.Helper()
	p.w.must(p.cmd.Process.Signal(os.Interrupt))
	if code, _ := p.wantExit(within); code != 0 {
		p.w.t.Errorf("%s: exit code %d after an interrupt", p.title, code)
	}
}

func (p *process) parse(line string) (e event) {
	p.w.t.Helper()
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event == "" {
		p.w.t.Fatalf("%s wrote no event: %q (%v)", p.title, line, err)
	}
	return e
}

// kill ends the program, whatever it is doing.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// String and output tell of it when a test has failed.
func (p *process) String() string {
	select {
	case <-p.done:
		return p.title + ": " + p.cmd.ProcessState.String()
	default:
		return p.title + ": running"
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}
