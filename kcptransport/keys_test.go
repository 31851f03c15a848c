package kcptransport

import (
	"bytes"
	"errors"
	"testing"
)

func testKeys(t testing.TB, s suite) (a, b *sessionKeys) {
	t.Helper()
	ka, kb := [32]byte{1}, [32]byte{2}
	a, err := newSessionKeys(s, ka, kb)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = newSessionKeys(s, kb, ka); err != nil {
		t.Fatal(err)
	}
	return a, b
}

var ciphers = map[string]suite{"AESGCM": cipherAESGCM, "ChaCha": cipherChaCha}

func TestSealOpen(t *testing.T) {
	for name, s := range ciphers {
		t.Run(name, func(t *testing.T) {
			a, b := testKeys(t, s)
			message := []byte("some frames")
			packet := a.seal([]byte("before"), 0xA1A2A3A4, 1<<32|5, message)
			packet, ok := bytes.CutPrefix(packet, []byte("before"))
			if !ok || len(packet) != len(message)+dataOverhead {
				t.Fatalf("packet %x", packet)
			}
			if index, ok := receiverIndex(packet); !ok || index != 0xA1A2A3A4 {
				t.Errorf("index %#x", index)
			}
			b.window.mark(1 << 32) // or the high half of the number could not be known
			for n := range packet {
				changed := bytes.Clone(packet)
				changed[n] ^= 0x10
				if _, _, err := b.open(nil, changed); err == nil {
					t.Fatalf("byte %d was changed unnoticed", n)
				}
				if _, _, err := b.open(nil, packet[:n]); err == nil {
					t.Fatal("a cut packet opens")
				}
			}
			pn, got, err := b.open([]byte("kept"), packet)
			if err != nil || pn != 1<<32|5 || !bytes.Equal(got, message) {
				t.Fatalf("%d, %q, %v", pn, got, err)
			}
			if _, _, err := b.open(nil, packet); !errors.Is(err, errPacketReplay) {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

func TestSealOpenInPlace(t *testing.T) {
	for name, s := range ciphers {
		t.Run(name, func(t *testing.T) {
			a, b := testKeys(t, s)
			buf := make([]byte, 2000)
			n := copy(buf[dataHeaderSize:], "some frames")
			packet := a.seal(buf[:0], 1, 2, buf[dataHeaderSize:dataHeaderSize+n])
			if &packet[0] != &buf[0] {
				t.Fatal("seal went elsewhere")
			}
			_, got, err := b.open(packet[dataHeaderSize:dataHeaderSize], packet)
			if err != nil || string(got) != "some frames" || &got[0] != &buf[dataHeaderSize] {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// Packets of one session arrive in any order, and a forged one must not move the window.
func TestOpenOutOfOrder(t *testing.T) {
	a, b := testKeys(t, cipherChaCha)
	forged := a.seal(nil, 1, 1<<30, nil)
	forged[len(forged)-1] ^= 1
	if _, _, err := b.open(nil, forged); !errors.Is(err, errPacketAuth) {
		t.Fatal(err)
	}
	for _, pn := range []uint64{3, 0, 2, 1, 5000, 4999, 4} {
		if got, _, err := b.open(nil, a.seal(nil, 1, pn, nil)); err != nil || got != pn {
			t.Errorf("packet %d: %d, %v", pn, got, err)
		}
	}
	if _, _, err := b.open(nil, a.seal(nil, 1, 5000+replaySize, nil)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.open(nil, a.seal(nil, 1, 4998, nil)); !errors.Is(err, errPacketReplay) {
		t.Errorf("a packet behind the window: %v", err)
	}
}

func TestSealOpenDoNotAllocate(t *testing.T) {
	for name, s := range ciphers {
		a, b := testKeys(t, s)
		buf, plain, message := make([]byte, 0, 2000), make([]byte, 0, 2000), make([]byte, 1200)
		pn := uint64(0)
		if n := testing.AllocsPerRun(200, func() {
			pn++
			if _, _, err := b.open(plain, a.seal(buf, 1, pn, message)); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	a, _ := testKeys(f, cipherChaCha)
	good := a.seal(nil, 1, 2, []byte("abc"))
	f.Add(good)
	f.Add(good[:dataOverhead])
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, b := testKeys(t, cipherChaCha)
		if _, _, err := b.open(nil, packet); err == nil && !bytes.Equal(packet[5:], good[5:]) && !bytes.Equal(packet, good) {
			t.Errorf("forged: %x", packet)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for name, s := range ciphers {
		b.Run(name, func(b *testing.B) {
			k, _ := testKeys(b, s)
			buf, message := make([]byte, 0, 2000), make([]byte, 1207)
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for pn := uint64(0); b.Loop(); pn++ {
				k.seal(buf, 1, pn, message)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, s := range ciphers {
		b.Run(name, func(b *testing.B) {
			k, r := testKeys(b, s)
			plain := make([]byte, 0, 2000)
			packet := k.seal(nil, 1, 1, make([]byte, 1207))
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			for b.Loop() {
				r.window.ring[0] = 0 // take the packet again
				if _, _, err := r.open(plain, packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
