package kcptransport

import (
	"net/netip"
	"time"
)

// linkMessage is what a link's run loop is sent by others. Packets come beside it, in the inbox's list.
type linkMessage interface{ isLinkMessage() }

// sessionMessage gives the link the keys of a completed handshake.
type sessionMessage struct {
	est        *established
	localIndex uint32
	from       netip.AddrPort // where the handshake proved the peer to be; invalid: by way of signal
	signal     Signal
	finish     []byte        // XX3, to be sent until the peer is heard
	relayed    bool          // the handshake went by way of relays
	rtt        time.Duration // of the handshake's exchange, 0 when it cannot be told
	ready      func()        // see readyMessage; may be nil
}

// readyMessage has ready called once the link shows what it has learnt so far, or has ended. ready does not block.
type readyMessage struct{ ready func() }

// probeMessage asks for a probe.
type probeMessage struct {
	path Path
	ttl  int
}

// signalMessage gives a link without path a way to its peer.
type signalMessage struct{ signal Signal }

// networkMessage says that our own network has changed.
type networkMessage struct{}

// circuitMessage says that a circuit to the peer was opened or closed, or is to be left.
type circuitMessage struct{ circuit *Circuit }

// showMessage has the link show its peer where we are: circuits depend on it, and it may be elsewhere than before.
type showMessage struct{}

// quietMessage keeps the link from sending for a time.
type quietMessage struct{ d time.Duration }

// closeMessage ends the link: after flush at the latest the peer is told, after limit the link is over.
type closeMessage struct {
	code         uint32
	reason       string
	flush, limit time.Duration
}

// abortMessage ends the link without telling the peer.
type abortMessage struct{ err error }

func (sessionMessage) isLinkMessage() {}
func (readyMessage) isLinkMessage()   {}
func (probeMessage) isLinkMessage()   {}
func (signalMessage) isLinkMessage()  {}
func (networkMessage) isLinkMessage() {}
func (circuitMessage) isLinkMessage() {}
func (showMessage) isLinkMessage()    {}
func (quietMessage) isLinkMessage()   {}
func (closeMessage) isLinkMessage()   {}
func (abortMessage) isLinkMessage()   {}
