//go:build !linux

package main

// separate does nothing here.
func separate(int) (undo func()) { return func() {} }

// onFirst only starts a process.
func onFirst(start func() error) error { return start() }
