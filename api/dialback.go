package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/stunclient"
)

const (
	kindDialBack     = "xppg/dialback" // request: have somebody who never talked to me send a packet to this address of mine
	dialBackTimeout  = 4 * time.Second
	dialBackPackets  = 3
	dialBackPause    = 250 * time.Millisecond // between them
	dialBackRate     = 2                      // a second, that a node takes part in
	dialBackBurst    = 10
	dialBackHelpers  = 3 // peers that are asked in a row
	maxDialBackWaits = 16
)

// dialBackToken is the STUN transaction ID of a packet that is to show that we can be reached.
type dialBackToken = [12]byte

// ErrNoThirdPeer is returned when no connected peer knows another one that has no link to us.
var ErrNoThirdPeer = errors.New("api: no connected peer knows a third one that could test whether others reach us")

// errNothingCame: a third peer was asked to send, and nothing came.
var errNothingCame = errors.New("api: nothing from outside comes in")

// dialBack is what a peer is asked for. The third one is told the same, with Final.
type dialBack struct {
	Addr  []byte `cbor:"0,keyasint"` // IP and port
	Token []byte `cbor:"1,keyasint"` // the STUN transaction ID that the packet is to have
	Final bool   `cbor:"2,keyasint,omitempty"`
}

// reachableAt reports whether others can reach us at an address: a third peer, of which no link goes to that address, has sent a
// packet there that came. The error tells why that is not known, or that nothing came within 4 seconds.
func (pg *Playground) reachableAt(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, dialBackTimeout)
	defer cancel()
	var token dialBackToken
	if _, err := io.ReadFull(pg.random(), token[:]); err != nil {
		return fmt.Errorf("api: reading random bytes: %w", err)
	}
	came := make(chan struct{})
	pg.mu.Lock()
	full := len(pg.dialBacks) >= maxDialBackWaits
	if !full {
		pg.dialBacks[token] = came
	}
	pg.mu.Unlock()
	if full {
		return errors.New("api: too many tests of reachability at once")
	}
	defer func() {
		pg.mu.Lock()
		defer pg.mu.Unlock()
		delete(pg.dialBacks, token)
	}()
	b, err := addr.MarshalBinary()
	if err != nil {
		return fmt.Errorf("api: address %s: %w", addr, err)
	}
	arrived := func() bool {
		select {
		case <-came:
			return true
		default:
			return false
		}
	}
	asked := 0
	err = ErrNoThirdPeer
	for _, p := range pg.readyPeers() {
		if arrived() {
			return nil
		}
		if info, ok := p.link.Path(); !ok || !info.Path.Direct() || asked == dialBackHelpers {
			continue
		}
		if askErr := pg.request(ctx, p.id, kindDialBack, dialBack{Addr: b, Token: token[:]}, nil); askErr != nil {
			err = askErr
			continue
		}
		asked++
	}
	if asked == 0 {
		return fmt.Errorf("api: whether others reach %s: %w", addr, err)
	}
	select {
	case <-came:
		return nil
	case <-ctx.Done():
		if arrived() {
			return nil
		}
		return fmt.Errorf("%w at %s: %w", errNothingCame, addr, ctx.Err())
	}
}

// dialedBack takes in a STUN request that may be the packet of a third peer. It runs on the endpoint's reader.
func (pg *Playground) dialedBack(b []byte) {
	token, ok := stunclient.RequestID(b)
	if !ok {
		return
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if came := pg.dialBacks[token]; came != nil {
		close(came)
		delete(pg.dialBacks, token)
	}
}

// answerDialBack does its part in testing whether a peer can be reached.
func (pg *Playground) answerDialBack(m *Message) error {
	d, addr, err := pg.readDialBack(m)
	switch {
	case err != nil:
		return m.ReplyError(err)
	case d.Final && pg.sendsTo(addr):
		return m.ReplyError(errors.New("packets of a link go there already"))
	case d.Final:
		if err := pg.knock(addr, dialBackToken(d.Token)); err != nil {
			return m.ReplyError(err)
		}
		return m.Reply(true)
	}
	third, ok := pg.thirdPeer(m.From)
	if !ok {
		return m.ReplyError(errors.New("nobody else is known here"))
	}
	d.Final = true
	pg.wg.Go(func() {
		ctx, cancel := context.WithTimeout(pg.ctx, dialBackTimeout/dialBackHelpers)
		defer cancel()
		if err := pg.request(ctx, third, kindDialBack, d, nil); err != nil {
			_ = m.ReplyError(errors.New("a third peer did not help")) // so that its silence is not taken for ours
			return
		}
		_ = m.Reply(true)
	})
	return nil
}

// seenAt reports whether a peer's packets come from an IP address: nobody has others send to somebody else.
func (pg *Playground) seenAt(id kcptransport.PeerID, ip netip.Addr) bool {
	p, err := pg.peer(id)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.link.Paths(), func(i kcptransport.PathInfo) bool {
		return i.Path.Direct() && !i.Since.IsZero() && i.Path.Addr.Addr() == ip
	})
}

// thirdPeer returns a connected peer that has no link to another one, as far as the records tell, or else any: it knows itself whether
// it has sent to the address before.
func (pg *Playground) thirdPeer(id kcptransport.PeerID) (third kcptransport.PeerID, ok bool) {
	pg.mu.Lock()
	var known []kcptransport.PeerID
	if info := pg.book.infos[id]; info != nil {
		known = info.neighbours
	}
	pg.mu.Unlock()
	for _, p := range pg.readyPeers() {
		if path, direct := p.link.Path(); p.id == id || !direct || !path.Path.Direct() {
			continue
		}
		pg.mu.Lock()
		info := pg.book.infos[p.id]
		linked := slices.Contains(known, p.id) || info != nil && slices.Contains(info.neighbours, id)
		pg.mu.Unlock()
		if !linked {
			return p.id, true
		}
		if !ok {
			third, ok = p.id, true
		}
	}
	return third, ok
}

// sendsTo reports whether a link of ours has a path to an address: what we send there gets in because it was let in before.
func (pg *Playground) sendsTo(addr netip.AddrPort) bool {
	return slices.ContainsFunc(pg.readyPeers(), func(p *peer) bool {
		return slices.ContainsFunc(p.link.Paths(), func(i kcptransport.PathInfo) bool { return i.Path.Addr == addr })
	})
}

// knock sends a few STUN requests with a given transaction ID (RFC 8489 section 5), the first one at once: its error tells that nothing
// can be sent there, as when we have no IPv6.
func (pg *Playground) knock(addr netip.AddrPort, token dialBackToken) error {
	b := stunclient.Request(token)
	if err := pg.ep.WriteTo(b, addr); err != nil {
		return errors.New("nothing can be sent there from here")
	}
	pg.wg.Go(func() {
		for range dialBackPackets - 1 {
			if !pause(pg.ctx, dialBackPause) {
				return
			}
			_ = pg.ep.WriteTo(b, addr) // lost, as any packet may be
		}
	})
	return nil
}

func newDialBackLimit() *rate.Limiter { return rate.NewLimiter(dialBackRate, dialBackBurst) }

// newPeerDialBackLimit returns the limit of one peer, so that none uses up what is for all.
func newPeerDialBackLimit() *rate.Limiter { return rate.NewLimiter(dialBackRate/4., dialBackBurst) }
