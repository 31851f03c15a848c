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
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || all.Count() < 2 {
		return func() {}
	}
	var first unix.CPUSet
	rest := all
	for cpu := range 8 * len(all) * 8 {
		if all.IsSet(cpu) {
			first.Set(cpu)
			rest.Clear(cpu)
			break
		}
	}
	pin(pid, &first)
	pin(os.Getpid(), &rest)
	return func() {
		pin(os.Getpid(), &all)
		runtime.SetDefaultGOMAXPROCS()
	}
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
