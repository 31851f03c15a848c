//go:build !linux

package udp

import (
	"net"
	"testing"
)

func stopCoalescing(testing.TB, *net.UDPConn) {}
