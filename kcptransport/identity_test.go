package kcptransport

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

// order8 is the encoding of a point of order 8, from the list of small-order points that RFC 7748 section 6.1 asks
// implementations to think of.
var order8 = [32]byte{
	0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
	0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
}

func point(t *testing.T, b [32]byte) *edwards25519.Point {
	t.Helper()
	p, err := new(edwards25519.Point).SetBytes(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mixedOrderKey is the X25519 form of i's key plus a point of order 8.
func mixedOrderKey(t *testing.T, i *Identity) [32]byte {
	t.Helper()
	sum := new(edwards25519.Point).Add(point(t, i.id), point(t, order8))
	return [32]byte(sum.BytesMontgomery())
}

func TestIdentityKeysBelongTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		i := IdentityFromSeed(seed)
		private, err := ecdh.X25519().NewPrivateKey(i.static[:])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(private.PublicKey().Bytes(), i.public[:]) {
			t.Fatal("the X25519 keys do not belong together")
		}
		if id, err := peerIDFromMontgomery(i.public); err != nil || id != i.ID() {
			t.Fatalf("from X25519 back: %v, %v; want %v", id, err, i.ID())
		}
		if again := IdentityFromSeed(i.Seed()); again.ID() != i.ID() {
			t.Fatal("Seed is of another identity")
		}
		if parsed, err := ParsePeerID(i.ID().String()); err != nil || parsed != i.ID() {
			t.Fatalf("ParsePeerID: %v, %v", parsed, err)
		}
	})
}

// Both signs of a point have the same X25519 form. Only one may be a PeerID, or whoever published the other could
// have the peers of this node believe that they talk to him.
func TestPeerIDSign(t *testing.T) {
	i := testIdentity(1)
	negated := PeerID(new(edwards25519.Point).Negate(point(t, i.id)).Bytes())
	if u := [32]byte(point(t, negated).BytesMontgomery()); u != i.public {
		t.Fatal("the two signs differ in X25519")
	}
	if _, err := negated.montgomery(); err == nil {
		t.Error("the other sign is a PeerID")
	}
	if _, err := ParsePeerID(negated.String()); err == nil {
		t.Error("the other sign can be parsed")
	}
	if Verify(negated, nil, make([]byte, 64)) {
		t.Error("the other sign verifies")
	}
}

func TestStrangePeerIDs(t *testing.T) {
	mixed := PeerID(new(edwards25519.Point).Add(point(t, testIdentity(1).id), point(t, order8)).Bytes())
	mixed[31] &= 0x7f
	for name, id := range map[string]PeerID{
		"zero": {}, "neutral element": {1}, "not on the curve": {2}, "order 8": order8,
		"mixed order": mixed,
	} {
		if _, err := id.montgomery(); err == nil {
			t.Errorf("%s is a PeerID", name)
		}
	}
	for y := range byte(19) { // y + p, a second encoding of the same point
		id := PeerID{0: 0xed + y, 31: 0x7f}
		for n := 1; n < 31; n++ {
			id[n] = 0xff
		}
		if _, err := id.montgomery(); err == nil {
			t.Errorf("the second encoding of y = %d is a PeerID", y)
		}
	}
}

func TestStrangeMontgomeryKeys(t *testing.T) {
	canonical := testIdentity(1).public
	high := canonical
	high[31] |= 0x80
	minus := [32]byte{0xec} // -1, where the map has a pole
	for n := 1; n < 31; n++ {
		minus[n] = 0xff
	}
	minus[31] = 0x7f
	for name, u := range map[string][32]byte{
		"zero": {}, "one": {1}, "minus one": minus, "twist": {2}, "not canonical": high,
		"mixed order": mixedOrderKey(t, testIdentity(1)),
	} {
		if id, err := peerIDFromMontgomery(u); err == nil {
			t.Errorf("%s is the key of %v", name, id)
		}
	}
}

func TestSignVerify(t *testing.T) {
	i, msg := testIdentity(1), []byte("message")
	sig := i.Sign(msg)
	if !Verify(i.ID(), msg, sig) || !ed25519.Verify(i.key.Public().(ed25519.PublicKey), msg, sig) {
		t.Error("a good signature is refused")
	}
	if Verify(testIdentity(2).ID(), msg, sig) || Verify(i.ID(), []byte("other"), sig) || Verify(i.ID(), msg, nil) || Verify(PeerID{}, msg, sig) {
		t.Error("a bad signature is accepted")
	}
}

func TestNewIdentityUsesReader(t *testing.T) {
	a, err := NewIdentity(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewIdentity(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() != b.ID() {
		t.Error("the same random bytes gave two identities")
	}
	if _, err := NewIdentity(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("31 bytes were enough")
	}
	if c, err := NewIdentity(nil); err != nil || c.ID() == a.ID() {
		t.Errorf("crypto/rand: %v, %v", c, err)
	}
}

func TestRoomSecret(t *testing.T) {
	a := RoomSecret("app", "correct horse")
	if a == RoomSecret("app2", "correct horse") || a == RoomSecret("app", "correct horsf") {
		t.Error("the secret does not depend on both arguments")
	}
}

func BenchmarkPeerIDFromMontgomery(b *testing.B) {
	u := testIdentity(1).public
	for b.Loop() {
		if _, err := peerIDFromMontgomery(u); err != nil {
			b.Fatal(err)
		}
	}
}
