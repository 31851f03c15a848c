package kcptransport

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Config says how an [Endpoint] works. The zero value of a field means its default, a negative number turns off what
// it bounds or does. Listen copies it; later changes have no effect.
type Config struct {
	// Conn is the socket; required. The endpoint owns it from a successful Listen on and closes it.
	Conn PacketConn

	// Identity is the key of this node; required.
	Identity *Identity

	// App is the name of the application, at most 64 bytes. Peers with different names refuse each other.
	App string

	// Secret, when set, is shared by all members of a room (see [RoomSecret]). Who does not have it gets no link.
	Secret *[32]byte

	// Rand is the source of keys, tokens and jitter. Default crypto/rand. Tests that give the same bytes, an
	// endpoint each, see the same packets.
	Rand io.Reader

	// Candidates is asked at every handshake for the addresses that the other side is to try; at most 16 of them
	// are told. It must not block. Default none.
	Candidates func() []Candidate

	// Hint is asked at every handshake for what the other side may know of our network, at most 64 bytes that mean
	// something to who reads Link.RemoteHint: package punch's description of a NAT. It must not block. Default none.
	Hint func() []byte

	// OnSTUN gets every STUN packet (RFC 8489) that arrives. It runs on the reading goroutine: it must not block, nor
	// keep b. Default: they are dropped.
	OnSTUN func(b []byte, from netip.AddrPort)

	// Forwarder gets the packets of circuits that go on from this node: those whose label has its highest bit set, as the
	// relay's own labels have. Default: they are dropped.
	Forwarder Forwarder

	// OnTrouble is called, on a goroutine of its own, when a peer has not been heard for half a second, or four round trips,
	// although it was asked, or for a little more than a round trip after [Endpoint.NetworkChanged], and when the last path to it
	// has ended; again after pauses that double up to 8 s, until it is heard. Perhaps both sides have moved at once, and neither can tell the other: Dial with
	// a Signal has them meet again. Default: the link keeps asking where it knows to ask.
	OnTrouble func(*Link)

	// OnMet is called, on a goroutine of its own, when the two sides of a link whose path fails, or has ended, have met again: on both
	// sides, at the time when Dial and Accept return a new link, and for the same purpose, which is hole punching to
	// Link.RemoteCandidates. The link itself sends nothing on its old paths for a second: a packet that is too early can do
	// harm. Default: nothing is tried.
	OnMet func(*Link)

	// KeepAlive is the pause in sending after which a packet is sent to keep the path open. Default 29.5 s, because
	// there are NATs that forget 30 s after what came from inside. Each side keeps to its own: who has measured that its
	// NAT waits longer (RFC 4787 REQ-5 asks for two minutes) may set more, here or while links run: [Endpoint.SetKeepAlive]. The
	// peer answers, so the shorter of the two pauses counts for both.
	KeepAlive time.Duration

	// DeadAfter is how long a peer that does not answer is asked before the link ends. Default 30 s. A peer that
	// vanishes while the link is idle is noticed at the latest after this and KeepAlive, or what SetKeepAlive made of that.
	DeadAfter time.Duration

	// HandshakeTimeout bounds Dial when its context has no earlier deadline. Default 10 s.
	HandshakeTimeout time.Duration

	// MaxLinks bounds the links of the endpoint; further peers are refused. Default 4,096.
	MaxLinks int

	// MaxStreams bounds the open streams of a link, of each side. Default 1,024.
	MaxStreams int

	// MaxMemory bounds, in bytes, what all links together hold for their streams: what the application has not read, what
	// peers do not take, and 14 KiB for each stream that is in use. A link may have an eighth, and no more than half of
	// what is left for others; beyond it, what the peer sends is dropped unacknowledged, further streams are refused, and a stream
	// holds 64 KiB of what is written. Default 256 MiB.
	MaxMemory int

	// MaxPacket is the largest UDP payload sent, in bytes, 1,200 to 1,452. Default 1,232: fits IPv6's minimum MTU.
	MaxPacket int
}

const (
	defaultKeepAlive        = 29500 * time.Millisecond
	defaultDeadAfter        = 30 * time.Second
	defaultHandshakeTimeout = 10 * time.Second
	defaultMaxLinks         = 4096
	defaultMaxStreams       = 1024
	defaultMaxPacket        = 1232
	defaultMaxMemory        = 256 << 20
	minMaxPacket            = 1200
	maxMaxPacket            = 1452 // Ethernet's 1,500 less the headers of IPv6 and UDP
	maxAppLen               = 64
)

// maxFrames is how many bytes of frames a packet holds: so that it fits a circuit as well as a direct path.
func (c Config) maxFrames() int { return c.MaxPacket - relayPrefix - dataOverhead }

// never stands for a limit that a negative number turned off.
const never = 1 << 40 * time.Millisecond

// withDefaults returns the configuration to use, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Conn == nil:
		return c, errors.New("kcptransport: listening: Config.Conn is missing")
	case c.Identity == nil:
		return c, errors.New("kcptransport: listening: Config.Identity is missing")
	case len(c.App) > maxAppLen:
		return c, fmt.Errorf("kcptransport: listening: the application's name has %d bytes, at most %d are allowed", len(c.App), maxAppLen)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	c.KeepAlive = durationOr(c.KeepAlive, defaultKeepAlive)
	c.DeadAfter = durationOr(c.DeadAfter, defaultDeadAfter)
	c.HandshakeTimeout = durationOr(c.HandshakeTimeout, defaultHandshakeTimeout)
	c.MaxLinks = limitOr(c.MaxLinks, defaultMaxLinks)
	c.MaxStreams = limitOr(c.MaxStreams, defaultMaxStreams)
	c.MaxMemory = limitOr(c.MaxMemory, defaultMaxMemory)
	if c.MaxPacket == 0 {
		c.MaxPacket = defaultMaxPacket
	}
	if c.MaxPacket < minMaxPacket || c.MaxPacket > maxMaxPacket {
		return c, fmt.Errorf("kcptransport: listening: MaxPacket is %d bytes, %d to %d are possible", c.MaxPacket, minMaxPacket, maxMaxPacket)
	}
	if c.Secret != nil {
		secret := *c.Secret
		c.Secret = &secret
	}
	return c, nil
}

func durationOr(d, or time.Duration) time.Duration {
	switch {
	case d == 0:
		return or
	case d < 0:
		return never
	}
	return d
}

func limitOr(n, or int) int {
	switch {
	case n == 0:
		return or
	case n < 0:
		return 1 << 30
	}
	return n
}
