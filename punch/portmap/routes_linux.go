package portmap

import (
	"fmt"
	"os"
)

// defaultRoutes asks the kernel about the network namespace of this thread, which is that of the sockets it makes. A kernel
// without IPv6 has no second file.
func defaultRoutes() ([]route, error) {
	v4, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return nil, fmt.Errorf("portmap: list routes: %w", err)
	}
	v6, _ := os.ReadFile("/proc/thread-self/net/ipv6_route")
	return append(parseRoutes4(string(v4)), parseRoutes6(string(v6))...), nil
}
