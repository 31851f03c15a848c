package kcptransport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// Every error belongs to one side: this one, the other one, or time. The package comment says how to tell.
func TestErrorSides(t *testing.T) {
	e := &Endpoint{}
	dialing := func(cause error) error {
		d := &dial{targets: []dialTarget{{addr: nodeAddrPort(7)}}}
		return d.failure(time.Now(), &dialRequest{started: time.Now()}, cause)
	}
	tests := []struct {
		name                string
		err                 error
		local, peer, timely bool
	}{
		{"link closed here", localClose{PeerID{1}}, true, false, false},
		{"endpoint closed", e.closedError("dialling"), true, false, false},
		{"endpoint closing", errTableClosed, true, false, false},
		{"link closed there", &PeerError{Code: 7}, false, true, false},
		{"peer started anew", ErrReplaced, false, true, false},
		{"refused there", &HandshakeError{Reason: RejectApp, Remote: true}, false, true, false},
		{"reset there", &ResetError{Remote: true}, false, true, false},
		{"reset here", &ResetError{}, true, false, false},
		{"peer silent", &GoneError{After: time.Second}, false, false, true},
		{"dialling too long", dialing(context.DeadlineExceeded), false, false, true},
		{"deadline of a stream", os.ErrDeadlineExceeded, false, false, true},
		{"dialling cancelled", dialing(context.Canceled), true, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := fmt.Errorf("wrapped: %w", test.err)
			local, peer, timely := sideOf(err)
			if local != test.local || peer != test.peer || timely != test.timely {
				t.Errorf("local %v, peer %v, timeout %v: %v", local, peer, timely, err)
			}
		})
	}
	if errors.Is(&GoneError{}, os.ErrDeadlineExceeded) {
		t.Error("a dead link looks like a deadline, after which one may go on")
	}
}

// sideOf does what the package comment tells.
func sideOf(err error) (local, peer, timely bool) {
	var reset *ResetError
	isReset := errors.As(err, &reset)
	local = errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || isReset && !reset.Remote
	var closed *PeerError
	var refused *HandshakeError
	peer = errors.As(err, &closed) || errors.Is(err, ErrReplaced) || isReset && reset.Remote ||
		errors.As(err, &refused) && refused.Remote
	var timeout net.Error
	timely = errors.As(err, &timeout) && timeout.Timeout()
	return local, peer, timely
}

// A node of the next version refuses; the error names both versions, so that one knows which to update.
func TestDialLaterVersion(t *testing.T) {
	inWorld(t, 20*time.Millisecond, func(w *world) {
		a := w.node(1)
		conn, err := w.net.NewHost("later", w.net.Internet(), w.link, nodeAddr(66, 0)).ListenUDP(nodeAddrPort(66))
		if err != nil {
			w.Fatal(err)
		}
		defer conn.Close()
		go func() {
			buf := make([]byte, 2000)
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil || n < 6 {
				return
			}
			b := binary.BigEndian.AppendUint32([]byte{typeReject, 2}, binary.BigEndian.Uint32(buf[2:]))
			_, _ = conn.WriteToUDPAddrPort(append(b, byte(RejectVersion)), from)
		}()
		_, err = a.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{nodeAddrPort(66)}})
		var refusal *HandshakeError
		if !errors.As(err, &refusal) || refusal.Reason != RejectVersion || refusal.Version != 2 || !refusal.Remote {
			w.Fatalf("error is %v", err)
		}
		if !strings.Contains(err.Error(), "it speaks 2, this one 1") {
			w.Errorf("error %q does not name both versions", err)
		}
	})
}

// A capability of a later version is handed on, and is no reason to refuse.
func TestUnknownCapability(t *testing.T) {
	h := testHello(1)
	h.Capabilities = []string{"of a later version"}
	i, err := newInitiator(testConfig(1), testIdentity(2).ID(), indexI, says(h))
	if err != nil {
		t.Fatal(err)
	}
	answer, p, err := respond(testConfig(2), i.first(), indexR, says(testHello(2)))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.established().hello.Capabilities; len(got) != 1 || got[0] != h.Capabilities[0] {
		t.Errorf("capabilities arrive as %q", got)
	}
	if _, est, err := i.handle(answer); err != nil || est == nil {
		t.Errorf("the handshake ends with %v", err)
	}
}
