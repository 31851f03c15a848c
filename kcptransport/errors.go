package kcptransport

import (
	"fmt"
	"net"
	"time"
)

// Errors of calls on something that this side closed.
var (
	// ErrClosed is what calls on a closed endpoint, link or stream wrap. It wraps net.ErrClosed.
	ErrClosed = fmt.Errorf("kcptransport: %w", net.ErrClosed)
)

// Errors of a link that ended without the peer saying so.
var (
	// ErrReplaced ends a link whose peer came back as somebody who knows nothing of it: it was restarted, or gave
	// the link up. The new link is given to Accept, or was asked for by Dial.
	ErrReplaced error = linkError("the peer started anew and opened another link")
)

// Errors of sending datagrams.
var (
	// ErrTooLarge: the datagram is longer than MaxDatagram.
	ErrTooLarge error = linkError("the datagram is too large")
	// ErrQueueFull: too many datagrams wait to be sent; this one was dropped.
	ErrQueueFull error = linkError("too many datagrams wait to be sent")
)

type linkError string

func (e linkError) Error() string { return "kcptransport: " + string(e) }

// PeerError is how a link ends that the peer closed. Code 0 means that nothing went wrong.
type PeerError struct {
	Code   uint32 // meaning given by the application
	Reason string // at most 200 bytes of text for humans; made by the peer, so not to be trusted
}

func (e *PeerError) Error() string {
	switch {
	case e.Reason == "" && e.Code == 0:
		return "kcptransport: the peer closed the link"
	case e.Reason == "":
		return fmt.Sprintf("kcptransport: the peer closed the link (code %d)", e.Code)
	}
	return fmt.Sprintf("kcptransport: the peer closed the link (code %d): %q", e.Code, e.Reason)
}

// GoneError is how a link ends whose peer stopped answering. It is a net.Error whose Timeout is true.
type GoneError struct {
	Peer  PeerID
	After time.Duration // how long nothing was heard despite asking
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("kcptransport: peer %s did not answer for %s", e.Peer.Short(), e.After.Round(time.Millisecond))
}

// Timeout reports true: the peer may come back.
func (e *GoneError) Timeout() bool { return true }

// Temporary reports false: this link is over. It is there because net.Error asks for it.
func (e *GoneError) Temporary() bool { return false }
