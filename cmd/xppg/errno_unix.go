//go:build unix

package main

import "syscall"

const errAddrInUse = syscall.EADDRINUSE
