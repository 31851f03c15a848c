package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch/portmap"
	"github.com/2xppg/xppg/stunclient"
)

// DefaultSTUN are the public servers asked when [Config.STUN] is nil. Any node
// answers STUN requests as well, so none of them is needed once a peer is known.
var DefaultSTUN = []string{
	"stun.cloudflare.com:3478",
	"stun.l.google.com:19302",
	"stun.nextcloud.com:3478",
}

// Config configures a playground. The zero value is usable; negative numbers
// turn off what they limit. It must not be changed after Start.
type Config struct {
	// App is the application's name, 1 to 64 bytes. Peers of other applications
	// are refused. Default "xppg".
	App string

	// Listen is the UDP address to listen on, as "host:port" or ":port".
	// Default ":0", any port, IPv4 and IPv6. Unused when Conn is set.
	Listen string

	// ListenTCP and ListenWS are addresses at which peers are taken, too, that come by TCP or by WebSocket because UDP is
	// blocked where they are. Default: none. A server that ends TLS may stand before ListenWS.
	ListenTCP, ListenWS string

	// URLs are where others find those listeners, if they cannot tell by themselves: tcp://host:port, or wss://host/path of a
	// server that ends TLS. Default: this node's addresses with the ports of the listeners. Peers are told at most 4.
	URLs []string

	// ListenStream opens a listener at a TCP address. Default: a net.ListenConfig.
	ListenStream func(addr string) (net.Listener, error)

	// Conn is the socket to use instead of a new one; the playground owns it.
	Conn kcptransport.PacketConn

	// DialTCP opens TCP connections to who is told by a URL: see [Playground.Join]. Default: a net.Dialer.
	DialTCP func(ctx context.Context, network, addr string) (net.Conn, error)

	// SpareSocket opens another IPv4 socket at the same interface as Conn, to test the NAT with:
	// for NetCheck, once in each network where our port changes with the destination, and to find out how long
	// it keeps idle mappings. Default: at the address of the node's own socket; without one when Conn is set. It may be called
	// from several goroutines.
	SpareSocket func() (stunclient.Socket, error)

	// PortMapping is the network whose routers are asked for a port that leads to ours (PCP, NAT-PMP, UPnP). Default: this
	// machine's, or none when Conn is set or the socket is at a loopback address.
	PortMapping portmap.Network

	// NoPortMapping asks no router.
	NoPortMapping bool

	// Identity is the node's key pair. Default: a new one, forgotten at exit.
	Identity *kcptransport.Identity

	// Passphrase, when set, closes the room: only peers that know it get a link.
	Passphrase string

	// Join lists targets to join in the background, again and again until it
	// succeeds, and anew when the peer is gone, within a minute: "host:port",
	// tickets, peer IDs or URLs: see [Playground.Join].
	Join []string

	// STUN lists servers as "host:port" that tell us our public address. Nil
	// means DefaultSTUN; empty, none.
	STUN []string

	// MaxPeers is how many peers of the application we connect to by ourselves;
	// peers that connect to us are welcome beyond that. Default 32; negative: none.
	MaxPeers int

	// Relay says whether this node relays for others. Default: once it is known that others can reach it.
	Relay RelayMode

	// AllowBench lets peers measure throughput against this node.
	AllowBench bool

	// StateDir is a folder for the replicated maps; "" keeps them in memory.
	StateDir string

	// LocalAddrs lists the host's own addresses. Default: those of its network
	// interfaces.
	LocalAddrs func() []netip.Addr

	// OnEvent, when set, is called for every event from the very first one on.
	// See [Playground.OnEvent].
	OnEvent func(Event)

	// KeepAlive is the pause after which an idle path is kept open. Default: as long as suits the NAT that the node is behind,
	// which it measures in the background with the help of a STUN server or a peer (and SpareSocket): up to 103.5 s, or
	// 110 s where others reach it at an address of its own, and 29.5 s until it knows.
	KeepAlive time.Duration

	// Rand is the source of randomness. Default crypto/rand; tests set it.
	Rand io.Reader
}

const (
	defaultApp      = "xppg"
	defaultMaxPeers = 32
	maxAppName      = 64
)

// Check returns what is wrong with the configuration, so far as that shows
// without starting.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

// withDefaults returns the configuration to use, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.App == "" {
		c.App = defaultApp
	}
	if len(c.App) > maxAppName {
		return c, fmt.Errorf("api: application name of %d bytes, at most %d are allowed", len(c.App), maxAppName)
	}
	if c.Listen == "" {
		c.Listen = ":0"
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = defaultMaxPeers
	}
	if c.STUN == nil {
		c.STUN = DefaultSTUN
	}
	for _, t := range c.Join {
		if _, err := parseTarget(t); err != nil {
			return c, err
		}
	}
	if len(c.URLs) > maxURLs {
		return c, fmt.Errorf("api: %d URLs, at most %d can be told", len(c.URLs), maxURLs)
	}
	for _, u := range c.URLs {
		if err := checkToldURL(u); err != nil {
			return c, fmt.Errorf("api: %w", err)
		}
	}
	if c.Identity == nil {
		id, err := kcptransport.NewIdentity(c.Rand)
		if err != nil {
			return c, fmt.Errorf("api: make an identity: %w", err)
		}
		c.Identity = id
	}
	return c, nil
}

// ErrClosed is returned by every call on a playground that was closed.
var ErrClosed = errors.New("api: the playground is closed")
