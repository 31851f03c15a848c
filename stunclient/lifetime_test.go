package stunclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

// https://www.rfc-editor.org/rfc/rfc5780.html#section-4.6
func TestLifetime(t *testing.T) {
	for _, mapping := range behaviours {
		for _, timeout := range []time.Duration{3 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				l.behind(netsim.NAT{Mapping: mapping, Filtering: mapping, Ports: netsim.RandomPorts, Timeout: timeout})
				start := time.Now()
				got, err := l.prober.Lifetime(t.Context(), l.server.At(0, 0), stunclient.LifetimeLimits{})
				if err != nil {
					t.Fatal(err)
				}
				if timeout > 5*time.Minute {
					if got != (stunclient.Lifetime{Min: 5 * time.Minute}) {
						t.Errorf("%v: %+v", timeout, got)
					}
				} else if got.Min > timeout || got.Max < timeout || got.Max-got.Min > max(time.Second, timeout/10) {
					t.Errorf("%v: %+v", timeout, got)
				}
				if took := time.Since(start); took > 20*time.Minute {
					t.Errorf("%v: took %v", timeout, took)
				}
			})
		}
	}
}

func TestLifetimeEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.behind(netsim.NAT{Timeout: time.Minute})
		start := time.Now()
		got, err := l.prober.Lifetime(t.Context(), l.server.At(0, 0), stunclient.LifetimeLimits{Within: 45 * time.Second})
		if err != nil || got.Min != 20*time.Second || got.Max != 0 || time.Since(start) > 45*time.Second {
			t.Errorf("%+v, %v after %v", got, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		got, err = l.prober.Lifetime(ctx, l.server.At(0, 0), stunclient.LifetimeLimits{})
		if !errors.Is(err, context.DeadlineExceeded) || got.Min != 10*time.Second {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestLifetimeNeedsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.server.NoResponsePort = true
		l.behind(netsim.NAT{})
		got, err := l.prober.Lifetime(t.Context(), l.server.At(0, 0), stunclient.LifetimeLimits{})
		if !errors.Is(err, stunclient.ErrUnsupported) || got != (stunclient.Lifetime{}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
