package stunclient_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

// peer is a host that answers STUN requests and knocks where it is told to.
func (l *lab) peer() (at netip.AddrPort, knock stunclient.Knock) {
	h := l.NewHost("peer", l.Internet(), netsim.Link{Delay: delay}, ip("192.0.2.77"))
	c := l.listen(h, 7337)
	return netip.AddrPortFrom(ip("192.0.2.77"), 7337), func(_ context.Context, to netip.AddrPort, id [12]byte) error {
		_, err := c.WriteToUDPAddrPort(stunclient.Request(id), to)
		return err
	}
}

// A mapping is found to live as long as it does, with a server that answers to another port and with a peer that knocks.
func TestHolds(t *testing.T) {
	strict := func(timeout time.Duration, refresh netsim.Refresh) netsim.NAT {
		return netsim.NAT{Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts, Timeout: timeout, Refresh: refresh}
	}
	for _, c := range []struct {
		nat  netsim.NAT
		wait time.Duration
		want bool
	}{
		{strict(30*time.Second, netsim.RefreshOutbound), 25 * time.Second, true},
		{strict(30*time.Second, netsim.RefreshOutbound), 45 * time.Second, false},
		{strict(30*time.Second, netsim.RefreshBoth), 45 * time.Second, false},
		{strict(time.Minute, netsim.RefreshBoth), 45 * time.Second, true},
		{strict(time.Minute, netsim.RefreshOutbound), 65 * time.Second, false},
		{netsim.Presets["linux"], 115 * time.Second, true},
		{netsim.Presets["linux"], 125 * time.Second, false},
		{netsim.Presets["full-cone"], 115 * time.Second, true},
		{netsim.Presets["firewall"], 125 * time.Second, false},
		{netsim.Presets["open"], 10 * time.Minute, true},
	} {
		for _, knocks := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				l.behind(c.nat)
				if c.nat.Transparent {
					l.on(l.home("public", l.Internet(), "203.0.113.8", c.nat), ip("198.51.100.9"))
				}
				server, knock := l.server.At(0, 0), stunclient.Knock(nil)
				if knocks {
					server, knock = l.peer()
				}
				start := time.Now()
				got, err := l.prober.Holds(t.Context(), server, c.wait, knock)
				if got != c.want || err != nil {
					t.Errorf("after %v, %+v, knocking %v: %v, %v", c.wait, c.nat, knocks, got, err)
				}
				if took := time.Since(start) - c.wait; took > 11*time.Second {
					t.Errorf("took %v more", took)
				}
			})
		}
	}
}

// What tells nothing of the NAT is an error: servers that do not take part, peers that do not knock, or stop to meanwhile.
func TestHoldsNeedsHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.server.NoResponsePort = true
		l.behind(netsim.NAT{Filtering: netsim.AddressAndPortDependent})
		if got, err := l.prober.Holds(t.Context(), l.server.At(0, 0), time.Minute, nil); got || !errors.Is(err, stunclient.ErrUnsupported) {
			t.Errorf("%v, %v", got, err)
		}
		at, knock := l.peer()
		start := time.Now()
		lies := func(context.Context, netip.AddrPort, [12]byte) error { return nil }
		if got, err := l.prober.Holds(t.Context(), at, time.Minute, lies); got || !errors.Is(err, stunclient.ErrUnsupported) {
			t.Errorf("%v, %v", got, err)
		}
		refusal := errors.New("no")
		refuses := func(context.Context, netip.AddrPort, [12]byte) error { return refusal }
		if got, err := l.prober.Holds(t.Context(), at, time.Minute, refuses); got || !errors.Is(err, refusal) {
			t.Errorf("%v, %v", got, err)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("took %v", took)
		}
		times := 0
		tires := func(ctx context.Context, to netip.AddrPort, id [12]byte) error {
			if times++; times > 1 {
				return nil
			}
			return knock(ctx, to, id)
		}
		if got, err := l.prober.Holds(t.Context(), at, time.Minute, tires); got || !errors.Is(err, stunclient.ErrUnsupported) {
			t.Errorf("%v, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if got, err := l.prober.Holds(ctx, at, time.Minute, knock); got || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// Nobody else's packets count, though they carry the right transaction ID.
func TestHoldsLooksAtTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.behind(netsim.NAT{})
		at, _ := l.peer()
		other := l.listen(l.NewHost("other", l.Internet(), netsim.Link{Delay: delay}, ip("192.0.2.78")), 7337)
		knock := func(_ context.Context, to netip.AddrPort, id [12]byte) error {
			_, err := other.WriteToUDPAddrPort(stunclient.Request(id), to)
			return err
		}
		if got, err := l.prober.Holds(t.Context(), at, time.Second, knock); got || !errors.Is(err, stunclient.ErrUnsupported) {
			t.Errorf("%v, %v", got, err)
		}
	})
}
