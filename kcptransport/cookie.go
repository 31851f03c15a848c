package kcptransport

import (
	"crypto/subtle"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
)

// A node that strangers keep busy does no arithmetic for an address before its owner has shown that it gets what is sent
// there, as WireGuard does it (Donenfeld, "WireGuard", NDSS 2017, section 5.3). It keeps nothing meanwhile: the proof is
// a MAC of the address.
//
//	first ───────────────────▶ under load
//	      ◀────────── COOKIE
//	COOKIED, first in it ────▶ answered

// Sizes in bytes, and times.
const (
	cookieSize        = 16
	cookiePacketSize  = 2 + 4 + cookieSize // type, version, receiver index, cookie
	cookiedHeaderSize = 2 + cookieSize     // type, version, cookie; a first message follows
	cookieLife        = 2 * time.Minute    // of a secret; its cookies are good for as long again
)

// cookie proves that who shows it gets what is sent to an address.
type cookie [cookieSize]byte

// cookieJar makes cookies and knows its own again.
type cookieJar struct {
	random         io.Reader
	secret, former [32]byte
	since          time.Time // of secret; zero: there is none yet
	hadFormer      bool
}

// renew changes the secret when it is time.
func (j *cookieJar) renew(now time.Time) error {
	age := now.Sub(j.since)
	if !j.since.IsZero() && age < cookieLife {
		return nil
	}
	j.former, j.hadFormer = j.secret, !j.since.IsZero() && age < 2*cookieLife
	if _, err := io.ReadFull(j.random, j.secret[:]); err != nil {
		return err
	}
	j.since = now
	return nil
}

// make returns the cookie for an address; it fails when there are no random bytes.
func (j *cookieJar) make(now time.Time, from netip.AddrPort) (cookie, error) {
	if err := j.renew(now); err != nil {
		return cookie{}, err
	}
	return cookieFor(&j.secret, from), nil
}

// valid reports whether c was made for an address, 4 minutes ago at most.
func (j *cookieJar) valid(now time.Time, from netip.AddrPort, c cookie) bool {
	if j.since.IsZero() || j.renew(now) != nil {
		return false
	}
	return c.is(&j.secret, from) || j.hadFormer && c.is(&j.former, from)
}

// is reports whether c was made with a secret for an address.
func (c cookie) is(secret *[32]byte, from netip.AddrPort) bool {
	want := cookieFor(secret, from)
	return subtle.ConstantTimeCompare(want[:], c[:]) == 1
}

// cookieFor is the keyed hash of an address and port.
func cookieFor(secret *[32]byte, from netip.AddrPort) (c cookie) {
	mac, err := blake2s.New128(secret[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never refused
	}
	addr := from.Addr().As16()
	mac.Write(addr[:])
	mac.Write(binary.BigEndian.AppendUint16(nil, from.Port()))
	mac.Sum(c[:0])
	return c
}

// appendCookie appends the answer to a first message that asks for a proof of address.
func appendCookie(dst, first []byte, c cookie) []byte {
	dst = append(dst, typeCookie, protocolVersion)
	dst = append(dst, first[2:6]...) // the sender's index
	return append(dst, c[:]...)
}

// parseCookie reads a packet that packetType calls kindCookie.
func parseCookie(b []byte) (index uint32, c cookie, ok bool) {
	if len(b) != cookiePacketSize || b[1] != protocolVersion {
		return 0, c, false
	}
	return binary.BigEndian.Uint32(b[2:]), cookie(b[6:]), true
}

// appendCookied appends a first message together with a cookie.
func appendCookied(dst, first []byte, c cookie) []byte {
	dst = append(dst, typeCookied, protocolVersion)
	return append(append(dst, c[:]...), first...)
}

// takeCookie strips the cookie from a packet that packetType calls kindCookied, so that a first message is left.
func (p *inPacket) takeCookie() (c cookie, ok bool) {
	b := p.bytes()
	if b[1] != protocolVersion || len(b) != cookiedHeaderSize+firstSize {
		return c, false
	}
	c = cookie(b[2:])
	p.n = copy(p.buf[:], b[cookiedHeaderSize:])
	return c, packetType(p.bytes()) == kindFirst
}
