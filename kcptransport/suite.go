package kcptransport

import (
	"runtime"

	"github.com/flynn/noise"
	"golang.org/x/sys/cpu"
)

// suite is the byte of a first handshake packet that names the initiator's choices: the cipher in the low four bits,
// and whether the room's secret takes part. It is bound into the prologue, so nobody on the way can change it.
type suite uint8

const (
	cipherAESGCM suite = 1 // AES-256-GCM
	cipherChaCha suite = 2 // ChaCha20-Poly1305
	suiteCiphers suite = 0x0F
	suiteSecret  suite = 0x80 // the room's secret is mixed in as psk1
)

// preferredCipher is the faster one here. AES without hardware is slow and leaks through timing.
func preferredCipher() suite {
	if hardwareAES() {
		return cipherAESGCM
	}
	return cipherChaCha
}

// hardwareAES reports whether crypto/aes runs on AES and carry-less multiplication instructions.
func hardwareAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41 && cpu.X86.HasSSSE3
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	case "s390x":
		return cpu.S390X.HasAES && cpu.S390X.HasAESGCM
	case "ppc64", "ppc64le":
		return true
	}
	return false
}

// cipher returns the cipher bits alone.
func (s suite) cipher() suite { return s & suiteCiphers }

// secret reports whether the room's secret takes part.
func (s suite) secret() bool { return s&suiteSecret != 0 }

// known reports whether s means anything in this version.
func (s suite) known() bool {
	c := s.cipher()
	return s&^(suiteCiphers|suiteSecret) == 0 && (c == cipherAESGCM || c == cipherChaCha)
}

// noise returns the Noise cipher suite of s, which must be known. opened counts the decryptions that succeed with it:
// which part of a message failed tells a wrong key from a wrong passphrase.
func (s suite) noise(opened *int) noise.CipherSuite {
	c := noise.CipherAESGCM
	if s.cipher() == cipherChaCha {
		c = noise.CipherChaChaPoly
	}
	return noise.NewCipherSuite(noise.DH25519, countingCipher{c, opened}, noise.HashSHA256)
}

type countingCipher struct {
	noise.CipherFunc
	opened *int
}

func (c countingCipher) Cipher(k [32]byte) noise.Cipher {
	return countingAEAD{c.CipherFunc.Cipher(k), c.opened}
}

type countingAEAD struct {
	noise.Cipher
	opened *int
}

func (c countingAEAD) Decrypt(out []byte, n uint64, ad, ciphertext []byte) ([]byte, error) {
	b, err := c.Cipher.Decrypt(out, n, ad, ciphertext)
	if err == nil {
		*c.opened++
	}
	return b, err
}
