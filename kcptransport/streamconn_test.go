package kcptransport

import (
	"context"
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// A stream is a net.Conn in all that the standard suite checks: data, deadlines, concurrent calls, Close.
func TestStreamIsConn(t *testing.T) {
	ctx := context.Background()
	l, m := loopbackPair(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		s, err := l.OpenStream(ctx, "conn")
		if err != nil {
			return nil, nil, nil, err
		}
		r, err := m.AcceptStream(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		return s, r, func() {
			s.Reset(0)
			r.Reset(0)
		}, nil
	})
}
