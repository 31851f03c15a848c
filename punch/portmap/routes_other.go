//go:build !linux

package portmap

import (
	"fmt"
	"net/netip"

	"github.com/jackpal/gateway"
)

// defaultRoutes asks the commands of the system. They tell one router, for IPv4.
func defaultRoutes() ([]route, error) {
	ip, err := gateway.DiscoverGateway()
	if err != nil {
		return nil, fmt.Errorf("portmap: find the gateway: %w", err)
	}
	a, _ := netip.AddrFromSlice(ip)
	return []route{{router: a.Unmap()}}, nil
}
