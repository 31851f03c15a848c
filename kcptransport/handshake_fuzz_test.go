package kcptransport

import (
	"bytes"
	"errors"
	"testing"
)

// firstMessages returns an IK1 and an XX1 for node 2, with and without a secret.
func firstMessages(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, remote := range []PeerID{{}, testIdentity(2).ID()} {
		for _, cfg := range []handshakeConfig{testConfig(1), testConfig(1, withSecret(9))} {
			i, err := newInitiator(cfg, remote, indexI, says(testHello(1)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, i.first())
		}
	}
	return all
}

// FuzzRespond feeds first messages to nodes with and without a secret.
func FuzzRespond(f *testing.F) {
	firsts := firstMessages(f)
	for _, first := range firsts {
		f.Add(first)
		f.Add(first[:40])
	}
	plain, secret := testConfig(2), testConfig(2, withSecret(9))
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, cfg := range []handshakeConfig{plain, secret} {
			cfg.rand = seeded(2)
			answer, p, err := respond(cfg, packet, indexR, says(testHello(2)))
			if len(answer) > len(packet) {
				t.Fatalf("%d bytes were answered with %d", len(packet), len(answer))
			}
			if (err == nil) != (p != nil) || (err == nil) != (answer != nil) {
				t.Fatal("an answer with an error, or none without")
			}
			var refusal *HandshakeError
			if errors.As(err, &refusal) && len(appendReject(nil, packet, refusal.Reason)) > len(packet) {
				t.Fatal("a refusal longer than the request")
			}
			if err == nil && p.established() != nil && !bytes.Equal(packet, firsts[2]) && !bytes.Equal(packet, firsts[3]) {
				t.Fatal("a forged IK1 was accepted")
			}
		}
	})
}

// FuzzInitiatorHandle feeds answers to an initiator, which then must still complete with the right one.
func FuzzInitiatorHandle(f *testing.F) {
	for _, remote := range []PeerID{{}, testIdentity(2).ID()} {
		i, answer, _ := fuzzPair(f, remote)
		f.Add(!remote.IsZero(), answer)
		f.Add(!remote.IsZero(), answer[:60])
		f.Add(!remote.IsZero(), appendReject(nil, i.first(), RejectApp))
	}
	f.Fuzz(func(t *testing.T, ik bool, packet []byte) {
		var remote PeerID
		if ik {
			remote = testIdentity(2).ID()
		}
		i, answer, _ := fuzzPair(t, remote)
		if _, _, err := i.handle(packet); err == nil {
			if !bytes.Equal(packet, answer) && ik {
				t.Fatal("a forged answer was accepted")
			}
			return
		}
		if _, _, err := i.handle(answer); err != nil {
			t.Fatalf("the packet spoilt the handshake: %v", err)
		}
	})
}

// FuzzFinish feeds third messages to a responder, which then must still complete with the right one.
func FuzzFinish(f *testing.F) {
	i, answer, _ := fuzzPair(f, PeerID{})
	reply, _, err := i.handle(answer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Add(reply[:70])
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, _, p := fuzzPair(t, PeerID{})
		if _, err := p.handle(packet); err == nil {
			if !bytes.Equal(packet, reply) {
				t.Fatal("a forged third message was accepted")
			}
			return
		}
		if _, err := p.handle(reply); err != nil {
			t.Fatalf("the packet spoilt the handshake: %v", err)
		}
	})
}

// fuzzPair is the same handshake each time.
func fuzzPair(t testing.TB, remote PeerID) (*initiator, []byte, *pendingResponder) {
	t.Helper()
	i, err := newInitiator(testConfig(1), remote, indexI, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	answer, p, err := respond(testConfig(2), i.first(), indexR, says(testHello(2)))
	if err != nil {
		t.Fatal(err)
	}
	return i, answer, p
}
