package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// igdService is what the services WANIPConnection:1, WANIPConnection:2 and WANPPPConnection:1 have in common.
type igdService interface {
	AddPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16,
		internalClient string, enabled bool, description string, leaseSeconds uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) error
	GetSpecificPortMappingEntryCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) (
		internalPort uint16, internalClient string, enabled bool, description string, leaseSeconds uint32, err error)
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	GetServiceClient() *goupnp.ServiceClient
}

// igdAny is what WANIPConnection:2 can do besides: the router chooses another port where ours is taken.
type igdAny interface {
	AddAnyPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16,
		internalClient string, enabled bool, description string, leaseSeconds uint32) (reserved uint16, err error)
}

// maxServices is how many services of one router are tried: one for each way that it has to the internet.
const maxServices = 4

// servicesOf returns the services that map ports, the best first. All that they send goes by the client.
func servicesOf(root *goupnp.RootDevice, where *url.URL, gateway netip.Addr, c http.Client) ([]igdService, error) {
	var all []igdService
	ip2, _ := internetgateway2.NewWANIPConnection2ClientsFromRootDevice(root, where) // the error: there is none
	for _, s := range ip2 {
		all = append(all, s)
	}
	ip1, _ := internetgateway2.NewWANIPConnection1ClientsFromRootDevice(root, where)
	for _, s := range ip1 {
		all = append(all, s)
	}
	ppp, _ := internetgateway2.NewWANPPPConnection1ClientsFromRootDevice(root, where)
	for _, s := range ppp {
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("the router has UPnP, but no port mapping")
	}
	var good []igdService
	var bad error
	for _, s := range all {
		at := &s.GetServiceClient().SOAPClient.EndpointURL
		if err := checkPlace(at, gateway); err != nil {
			bad = err
			continue
		}
		s.GetServiceClient().SOAPClient.HTTPClient = c
		if good = append(good, s); len(good) == maxServices {
			break
		}
	}
	if len(good) == 0 {
		return nil, bad
	}
	return good, nil
}

// igdCode is a refusal (IGD:2 WANIPConnection service, section 2.5 and UPnP Device Architecture, section 3.2.2).
type igdCode int

const (
	igdInvalidArgs    igdCode = 402
	igdNotImplemented igdCode = 602
	igdNoSuchEntry    igdCode = 714
	igdConflict       igdCode = 718
	igdSamePorts      igdCode = 724
	igdOnlyPermanent  igdCode = 725
)

func (c igdCode) Error() string {
	switch c {
	case 606:
		return "the router refuses: we may not map ports"
	case igdNoSuchEntry:
		return "the router has no such mapping"
	case igdConflict:
		return "the port is taken at the router"
	case 728:
		return "the router has no port left"
	case 729:
		return "another kind of mapping has this port"
	}
	return fmt.Sprintf("the router refuses (UPnP error %d)", int(c))
}

// refusal returns what a router said no with, in our words, or why there is no answer. The words of routers are not
// bounded, and goupnp puts them into its errors.
func refusal(ctx context.Context, err error) error {
	var fault *soap.SOAPFaultError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fault):
		return igdCode(fault.Detail.UPnPError.Errorcode)
	case ctx.Err() != nil: // goupnp does not wrap
		return silent(ctx)
	}
	return fmt.Errorf("%.200q", err.Error())
}
