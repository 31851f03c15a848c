package kcptransport

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
)

// gate is what first messages pass on their way from the socket to the handshaker. It belongs to the reader's goroutine, so
// that a flood wakes nobody, waits in no queue and takes no room of those that mean well.
//
// An endpoint that is not under load lets all of them pass. One that is lets those pass that show a cookie, turns some
// of the others into the request for one, as many as its crowd allows, and drops the rest: who means well comes again.
type gate struct {
	rules  firstRules
	load   loadMeter
	random io.Reader // nobody else reads from it
	jar    cookieJar
	crowd  *crowd // nil while not under load
}

func newGate(cfg handshakeConfig, random io.Reader) gate {
	return gate{rules: rulesOf(cfg), random: random, jar: cookieJar{random: random}}
}

const gateDomain = "xppg gate secrets 1\x00"

// gateSecrets returns the random bytes of a gate: its goroutine must not take them from Config.Rand, from which the handshaker
// reads meanwhile. They depend on the secret key of the node and on the number of its start, and tell nothing of the key.
func gateSecrets(identity *Identity, boot uint32) io.Reader {
	x, err := blake2s.NewXOF(blake2s.OutputLengthUnknown, identity.static[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never refused
	}
	_, _ = x.Write(binary.BigEndian.AppendUint32([]byte(gateDomain), boot)) // never fails
	return x
}

// admit judges a packet that packetType calls kindFirst or kindCookied and that came from an address, not by way of others. It
// reports whether the handshaker is to get it: as a first message, or as a request for a proof that is to be sent.
func (g *gate) admit(now time.Time, p *inPacket) bool {
	proven := false
	if packetType(p.bytes()) == kindCookied {
		c, ok := p.takeCookie()
		if !ok {
			return false
		}
		proven = g.jar.valid(now, p.from, c)
	}
	if !g.load.arrived(now) {
		g.crowd = nil
		return true
	}
	if proven {
		return true
	}
	_, _, ours := g.rules.judge(p.bytes())
	return ours && g.mayAsk(now, p.from) && g.ask(now, p)
}

// mayAsk reports whether an address gets a cookie now.
func (g *gate) mayAsk(now time.Time, from netip.AddrPort) bool {
	if g.crowd == nil {
		var err error
		if g.crowd, err = newCrowd(g.random); err != nil {
			return false
		}
	}
	return g.crowd.serves(now, from)
}

// ask turns a first message into the request for a proof of where it came from.
func (g *gate) ask(now time.Time, p *inPacket) bool {
	c, err := g.jar.make(now, p.from)
	if err != nil {
		return false
	}
	p.n = len(appendCookie(p.buf[:0], p.bytes(), c))
	p.asks = true
	return true
}
