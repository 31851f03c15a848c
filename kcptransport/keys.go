package kcptransport

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// rekeyAfterPackets is how many packets one key may seal before the link should have new ones: with packets of at most
// 2,048 bytes it keeps an attacker's advantage against AES-GCM below 2^-57 (RFC 9001 appendix B.1).
const rekeyAfterPackets = 1 << 28

// maxSessionPackets is how many it must never seal: 2^-53 then. A link whose keys were not renewed by then ends.
const maxSessionPackets = 1 << 30

var (
	errPacketShort  = errors.New("kcptransport: opening a packet: it is too short")
	errPacketReplay = errors.New("kcptransport: opening a packet: it came before, or is too old to tell")
	errPacketAuth   = errors.New("kcptransport: opening a packet: it is not authentic")
)

// sessionKeys seals and opens the data packets of one session. It belongs to one goroutine.
type sessionKeys struct {
	sender, receiver        cipher.AEAD
	sendNonce, receiveNonce [chacha20poly1305.NonceSize]byte // scratch, here because an argument of AEAD escapes
	window                  replayWindow
}

// newSessionKeys makes the keys of a session that encrypts with s.
func newSessionKeys(s suite, send, receive [32]byte) (*sessionKeys, error) {
	k := new(sessionKeys)
	var err error
	if k.sender, err = s.aead(send); err != nil {
		return nil, err
	}
	if k.receiver, err = s.aead(receive); err != nil {
		return nil, err
	}
	return k, nil
}

// aead returns the AEAD of s with a 256-bit key.
func (s suite) aead(key [32]byte) (cipher.AEAD, error) {
	switch s.cipher() {
	case cipherAESGCM:
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	case cipherChaCha:
		return chacha20poly1305.New(key[:])
	}
	return nil, fmt.Errorf("unknown cipher %d", s.cipher())
}

// seal appends the data packet number pn to dst. A number must never be used twice. plaintext may be where it will
// lie encrypted, at dst[len(dst)+dataHeaderSize:], and must not overlap dst otherwise.
func (k *sessionKeys) seal(dst []byte, remoteIndex uint32, pn uint64, plaintext []byte) []byte {
	at := len(dst)
	dst = append(dst, typeData)
	dst = binary.BigEndian.AppendUint32(dst, remoteIndex)
	dst = binary.BigEndian.AppendUint32(dst, uint32(pn))
	putNonce(&k.sendNonce, pn)
	return k.sender.Seal(dst, k.sendNonce[:], plaintext, dst[at:])
}

// open checks and decrypts a data packet that came for this session and appends the frames to dst, which may be
// packet[dataHeaderSize:dataHeaderSize] to decrypt in place; then the packet is spoilt even if open fails.
// A packet that succeeds once fails from then on.
func (k *sessionKeys) open(dst, packet []byte) (pn uint64, plaintext []byte, err error) {
	if len(packet) < dataOverhead || packet[0] != typeData {
		return 0, nil, errPacketShort
	}
	pn = expandPacketNumber(k.window.highest, binary.BigEndian.Uint32(packet[5:]))
	if !k.window.fresh(pn) {
		return pn, nil, errPacketReplay
	}
	putNonce(&k.receiveNonce, pn)
	at := len(dst)
	dst, err = k.receiver.Open(dst, k.receiveNonce[:], packet[dataHeaderSize:], packet[:dataHeaderSize])
	if err != nil {
		return pn, nil, errPacketAuth
	}
	k.window.mark(pn)
	return pn, dst[at:], nil
}

// putNonce writes the nonce of packet pn: 4 zero bytes and the number, big-endian.
func putNonce(nonce *[chacha20poly1305.NonceSize]byte, pn uint64) {
	binary.BigEndian.PutUint64(nonce[4:], pn)
}

// expandPacketNumber returns the 64-bit number with the given low 32 bits that is closest to the one after highest
// (RFC 9000 section 17.1 and appendix A.3).
func expandPacketNumber(highest uint64, low uint32) uint64 {
	const span, half = 1 << 32, 1 << 31
	expected := highest + 1
	n := expected&^(span-1) | uint64(low)
	switch {
	case n+half <= expected && n < ^uint64(0)-span:
		return n + span
	case n > expected+half && n >= span:
		return n - span
	}
	return n
}
