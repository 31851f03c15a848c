package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// separate gives a process the first processor and this one the others, and returns what undoes the latter. With fewer than
// two it does nothing.
func separate(pid int) (undo func()) {
	all, first, rest, ok := processors()
	if !ok {
		return func() {}
	}
	pin(pid, &first)
	pin(os.Getpid(), &rest)
	return func() {
		pin(os.Getpid(), &all)
		runtime.SetDefaultGOMAXPROCS()
	}
}

// onFirst has start start a process on the first processor, so that its runtime knows from the beginning how many it has.
func onFirst(start func() error) error {
	runtime.LockOSThread() // the process gets what the thread has
	defer runtime.UnlockOSThread()
	if all, first, _, ok := processors(); ok {
		_ = unix.SchedSetaffinity(0, &first) // otherwise separate moves it
		defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	}
	return start()
}

// processors returns those that this process may use, the first of them, and the others. ok is false when there is one only.
func processors() (all, first, rest unix.CPUSet, ok bool) {
	if err := unix.SchedGetaffinity(os.Getpid(), &all); err != nil || all.Count() < 2 {
		return all, first, rest, false
	}
	rest = all
	for cpu := range 8 * len(all) * 8 {
		if all.IsSet(cpu) {
			first.Set(cpu)
			rest.Clear(cpu)
			break
		}
	}
	return all, first, rest, true
}

// pin sets where the threads of a process run; those that they start later run there, too.
func pin(pid int, set *unix.CPUSet) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.SchedSetaffinity(tid, set) // what has ended meanwhile
		}
	}
}
