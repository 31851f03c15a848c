package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/punch/portmap"
	"github.com/2xppg/xppg/stunclient"
)

// NetReport is what a node can tell of the network it is in.
type NetReport struct {
	Local    []netip.AddrPort // our own addresses
	Public   []netip.AddrPort // as seen by STUN servers
	NAT      punch.NAT        // what is believed of the NAT, for IPv4
	Answered []netip.AddrPort // STUN servers that answered
	IPv6     bool             // one of them was reached by IPv6
	UDP      UDPState         // whether UDP gets through
	Ports    portmap.Status   // what routers say to requests for a port; zero when none was asked
	Errors   []error          // what could not be found out, and why
}

// UDPState tells whether packets of UDP get to the internet, and answers back.
type UDPState string

// The states of UDP.
const (
	UDPUnknown UDPState = "unknown" // nothing came back, by TCP neither
	UDPWorks   UDPState = "works"
	UDPBlocked UDPState = "blocked" // nothing came back, but TCP gets through
)

// NetCheckOptions say how much to find out.
type NetCheckOptions struct {
	// Lifetime also measures how long the NAT keeps an idle mapping, which takes minutes,
	// at most the time that its limits name. Nil: it does not.
	Lifetime *stunclient.LifetimeLimits
}

// NetCheck asks the STUN servers now and tells what the network's NAT does. It
// takes about 3 s when the NAT filters or a server does not answer. What takes spare sockets
// stays unknown without [Config.SpareSocket].
func (pg *Playground) NetCheck(ctx context.Context, o NetCheckOptions) (NetReport, error) {
	var r NetReport
	report, err := pg.askSTUN(ctx)
	if err != nil {
		r.Errors = append(r.Errors, err)
	}
	if pg.cfg.SpareSocket != nil && ctx.Err() == nil {
		r.Errors = append(r.Errors, pg.survey(ctx, pg.prober(), report.Results, o)...)
	}
	if ctx.Err() != nil {
		return r, fmt.Errorf("api: netcheck: %w", ctx.Err())
	}
	for _, c := range pg.candidates() {
		if c.Type == kcptransport.Host {
			r.Local = append(r.Local, c.Addr)
		}
	}
	r.Public = append(slices.Clone(report.IPv4.Mapped), report.IPv6.Mapped...)
	for _, a := range report.Results {
		r.Answered = append(r.Answered, a.Server)
	}
	r.NAT = pg.gather.NAT()
	r.Ports = pg.portMappingStatus(ctx)
	r.IPv6 = report.IPv6.Servers > 0
	r.UDP = pg.udpState(ctx, len(r.Answered))
	return r, nil
}

const tcpPatience = 2 * time.Second // for a STUN server to answer by TCP, in whatever way

// udpState finds out whether UDP gets through, when so many STUN servers have answered.
func (pg *Playground) udpState(ctx context.Context, answered int) UDPState {
	state := UDPUnknown
	if answered > 0 {
		return UDPWorks
	}
	for _, p := range pg.readyPeers() {
		switch info, ok := p.link.Path(); {
		case !ok || !info.Path.Direct():
		case info.Path.Carried():
			state = UDPBlocked
		case !punch.Private(info.Path.Addr.Addr()):
			return UDPWorks
		}
	}
	if state == UDPUnknown && pg.reachTCP(ctx) {
		state = UDPBlocked
	}
	return state
}

// reachTCP reports whether one of the STUN servers answers by TCP. To refuse a connection is an answer.
func (pg *Playground) reachTCP(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, tcpPatience)
	defer cancel()
	dial := pg.cfg.DialTCP
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	answers := make(chan bool, len(pg.cfg.STUN))
	for _, server := range pg.cfg.STUN {
		go func() {
			conn, err := dial(ctx, "tcp", server)
			if err == nil {
				_ = conn.Close()
			}
			answers <- err == nil || errors.Is(err, syscall.ECONNREFUSED)
		}()
	}
	reached := false
	for range pg.cfg.STUN {
		if <-answers {
			reached = true
			cancel()
		}
	}
	return reached
}

// survey finds out what takes spare sockets, and tells the gatherer.
func (pg *Playground) survey(ctx context.Context, p *stunclient.Prober, answered []stunclient.Result, o NetCheckOptions) (errs []error) {
	found, err := punch.Survey(ctx, p, answered)
	if err != nil {
		errs = append(errs, err)
	}
	if o.Lifetime != nil && len(found.Behaviours) > 0 {
		if found.Lifetime, err = p.Lifetime(ctx, found.Behaviours[0].Server, *o.Lifetime); err != nil {
			errs = append(errs, err)
		}
	}
	pg.gather.Found(found)
	return errs
}

// surveyOnce finds out more when our port changes with the destination: how it changes decides what peers can try.
func (pg *Playground) surveyOnce(answered []stunclient.Result) (done bool) {
	if pg.cfg.SpareSocket == nil || pg.gather.NAT().Mapping.Is < punch.AddressDependent {
		return false
	}
	found, err := punch.Survey(pg.ctx, pg.prober(), answered)
	if pg.ctx.Err() != nil || len(pg.stunWake) > 0 { // closed, or it was another network
		return false
	}
	if err != nil {
		pg.note(pg.ID(), fmt.Errorf("api: survey of the NAT: %w", err))
	}
	pg.gather.Found(found)
	return true
}

func (pg *Playground) prober() *stunclient.Prober {
	return &stunclient.Prober{Open: pg.cfg.SpareSocket, Rand: pg.cfg.Rand}
}

// spareBeside returns how to open IPv4 sockets at the address of another one, on other ports.
func spareBeside(conn kcptransport.PacketConn) func() (stunclient.Socket, error) {
	at := netip.IPv4Unspecified()
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok && local.AddrPort().Addr().Unmap().Is4() {
		at = local.AddrPort().Addr().Unmap()
	}
	return func() (stunclient.Socket, error) {
		return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	}
}
