package kcptransport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
	"golang.org/x/crypto/argon2"
)

// Identity is a peer's private key. It never changes after it is made, so goroutines may share it.
type Identity struct {
	key    ed25519.PrivateKey
	id     PeerID
	static [32]byte // X25519 private key, the clamped scalar of key
	public [32]byte // X25519 public key, the Montgomery form of id
}

// NewIdentity makes an identity from 32 bytes of rand; nil means crypto/rand.
func NewIdentity(random io.Reader) (*Identity, error) {
	if random == nil {
		random = rand.Reader
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("kcptransport: making an identity: reading 32 random bytes: %w", err)
	}
	return IdentityFromSeed(seed), nil
}

// reseedDomain separates the hash that replaces a seed from every other use of SHA-256.
const reseedDomain = "xppg identity seed 1\x00"

// IdentityFromSeed makes the identity of a 32-byte Ed25519 seed (RFC 8032 section 5.1.5). A seed whose public key has
// its sign bit set, which is every second one, cannot be a PeerID; it is replaced by its SHA-256 (with a domain prefix)
// until one fits. Seed returns the one that fits, and IdentityFromSeed of that gives the same identity.
func IdentityFromSeed(seed [32]byte) *Identity {
	for {
		i := &Identity{key: ed25519.NewKeyFromSeed(seed[:])}
		copy(i.id[:], i.key.Public().(ed25519.PublicKey))
		public, err := i.id.montgomery()
		if err == nil {
			i.public, i.static = public, staticKey(seed)
			return i
		}
		seed = sha256.Sum256(append([]byte(reseedDomain), seed[:]...))
	}
}

// staticKey derives the X25519 private key of a seed: the scalar that Ed25519 itself multiplies with.
func staticKey(seed [32]byte) (k [32]byte) {
	h := sha512.Sum512(seed[:])
	copy(k[:], h[:32])
	k[0] &= 248 // RFC 7748 section 5, decodeScalar25519
	k[31] &= 127
	k[31] |= 64
	return k
}

// ID returns the public name of the identity.
func (i *Identity) ID() PeerID { return i.id }

// Seed returns the 32 bytes the identity is made from. Whoever has them is this peer.
func (i *Identity) Seed() (seed [32]byte) {
	copy(seed[:], i.key.Seed())
	return seed
}

// Sign returns the 64-byte Ed25519 signature of msg. The key signs for several purposes, so msg should begin with a
// string that names the purpose and that no other purpose begins with.
func (i *Identity) Sign(msg []byte) []byte { return ed25519.Sign(i.key, msg) }

// Verify reports whether sig is id's signature of msg. It accepts any input without panicking.
func Verify(id PeerID, msg, sig []byte) bool {
	return id.check() == nil && len(sig) == ed25519.SignatureSize && ed25519.Verify(id[:], msg, sig)
}

var (
	errNotOnCurve = errors.New("it is not a point of the curve")
	errSubgroup   = errors.New("it is not in the prime-order subgroup")
)

// montgomery returns the X25519 public key that belongs to id, by the birational map of RFC 7748 section 4.1.
// Only points of prime order with a sign bit of zero have one, so that peerIDFromMontgomery is its inverse.
func (id PeerID) montgomery() (u [32]byte, err error) {
	if err := id.check(); err != nil {
		return u, err
	}
	p, err := new(edwards25519.Point).SetBytes(id[:])
	if err != nil {
		return u, errNotOnCurve
	}
	if !primeOrder(p) { // so are all points that have a second encoding, with y above the field's prime
		return u, errSubgroup
	}
	return [32]byte(p.BytesMontgomery()), nil
}

// peerIDFromMontgomery is the inverse of montgomery: y = (u-1)/(u+1), x taken with sign bit zero. It refuses every u
// that no PeerID maps to: points of the twist, of small or mixed order, and encodings that are not canonical.
func peerIDFromMontgomery(u [32]byte) (PeerID, error) {
	fe, err := new(field.Element).SetBytes(u[:])
	if err != nil {
		return PeerID{}, err
	}
	one := new(field.Element).One()
	y := new(field.Element).Add(fe, one)
	y.Invert(y)
	y.Multiply(y, fe.Subtract(fe, one))
	id := PeerID(y.Bytes())
	back, err := id.montgomery()
	if err != nil {
		return PeerID{}, err
	}
	if back != u {
		return PeerID{}, errNotOnCurve
	}
	return id, nil
}

// minusOne is the scalar l-1, where l is the order of the prime-order subgroup.
var minusOne = func() *edwards25519.Scalar {
	one := make([]byte, 32)
	one[0] = 1
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(one)
	if err != nil {
		panic("kcptransport: 1 is a canonical scalar: " + err.Error())
	}
	return s.Negate(s)
}()

// primeOrder reports whether p generates the prime-order subgroup: p is not the neutral element and (l-1)p = -p.
func primeOrder(p *edwards25519.Point) bool {
	if p.Equal(edwards25519.NewIdentityPoint()) == 1 {
		return false
	}
	zero := edwards25519.NewScalar()
	q := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(minusOne, p, zero) // public data: variable time is fine
	return q.Equal(new(edwards25519.Point).Negate(p)) == 1
}

// Parameters of RoomSecret, the second recommended option of RFC 9106 section 4. They are part of the protocol:
// two peers with other parameters derive other secrets.
const (
	roomSecretTime    = 3
	roomSecretMemory  = 64 << 10 // KiB, 64 MiB
	roomSecretThreads = 4
	roomSecretDomain  = "xppg room secret 1\x00"
)

// RoomSecret derives the secret of a room from its passphrase by Argon2id (RFC 9106), salted with the application's
// name. It costs 64 MiB of memory and about a fifth of a second on purpose: whoever records a handshake can try
// passphrases at that price each, so a passphrase still has to be one that cannot be guessed.
func RoomSecret(app, passphrase string) [32]byte {
	salt := sha256.Sum256([]byte(roomSecretDomain + app))
	key := argon2.IDKey([]byte(passphrase), salt[:16], roomSecretTime, roomSecretMemory, roomSecretThreads, 32)
	return [32]byte(key)
}
