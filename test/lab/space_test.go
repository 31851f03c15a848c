//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namePrefix begins the names of all namespaces of the lab. The process ID of
// the test follows, so that what a killed run left behind can be told from what
// another run still uses.
const namePrefix = "xppg-lab-"

// space is a network namespace.
type space struct{ name string }

func newSpace(name string) (*space, error) {
	s := &space{name}
	_, err := command("", "ip", "netns", "add", name)
	return s, err
}

// remove ends what still runs in the namespace and deletes it.
func (s *space) remove() error {
	out, err := command("", "ip", "netns", "pids", s.name)
	for _, field := range strings.Fields(out) {
		if pid, e := strconv.Atoi(field); e == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_, e := command("", "ip", "netns", "delete", s.name)
	return errors.Join(err, e)
}

// ip runs lines of ip commands inside the namespace.
func (s *space) ip(lines ...string) error {
	_, err := command(strings.Join(lines, "\n")+"\n", "ip", "-n", s.name, "-batch", "-")
	return err
}

// exec runs a command inside the namespace.
func (s *space) exec(stdin string, args ...string) (string, error) {
	return command(stdin, "ip", append([]string{"netns", "exec", s.name}, args...)...)
}

// do calls f on a thread inside the namespace. Sockets and devices that f opens
// belong to the namespace for good.
func (s *space) do(f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		fd, err := unix.Open(filepath.Join("/run/netns", s.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		errs <- err
	}()
	return <-errs
}

// setting writes a kernel parameter of the namespace, as net/ipv4/ip_forward.
func (s *space) setting(name, value string) error {
	return s.do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
	})
}

// command runs a program and returns its output.
func command(stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("lab: %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

// removeLeftovers deletes the namespaces of runs that are no more.
func removeLeftovers() error {
	entries, err := os.ReadDir("/run/netns")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), namePrefix)
		if !ok {
			continue
		}
		owner, _, _ := strings.Cut(rest, "-")
		// A dead process that nobody waited for has no executable, and a new
		// one of the same number is hardly a test.
		if exe, e := os.Readlink(filepath.Join("/proc", owner, "exe")); e == nil && strings.Contains(exe, ".test") {
			continue
		}
		err = errors.Join(err, (&space{e.Name()}).remove())
	}
	return err
}
