package main

import (
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/api"
)

func local(join ...string) api.Config {
	return api.Config{App: "ledger-test", Listen: "127.0.0.1:0", STUN: []string{}, Join: join}
}

func TestBooksAgree(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	alice, err := open(ctx, "alice", local())
	if err != nil {
		t.Fatal(err)
	}
	defer alice.pg.Close()
	if err := alice.do("pay bob 12.50 lunch", io.Discard); err != nil {
		t.Fatal(err)
	}
	bob, err := open(ctx, "bob", local(alice.pg.LocalAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer bob.pg.Close()
	changes := bob.book.Watch(ctx, "")
	if err := bob.do("pay carol 4", io.Discard); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"alice": 1250, "bob": -850, "carol": -400}
	for !maps.Equal(bob.balance(), want) {
		if _, ok := <-changes; !ok {
			t.Fatalf("bob's book says %v, want %v", bob.balance(), want)
		}
	}
	changes = alice.book.Watch(ctx, "")
	for !maps.Equal(alice.balance(), want) {
		if _, ok := <-changes; !ok {
			t.Fatalf("alice's book says %v, want %v", alice.balance(), want)
		}
	}
	var out strings.Builder
	if err := alice.do("list", &out); err != nil || !strings.Contains(out.String(), "alice -> bob 12.50 lunch") {
		t.Errorf("list: %q, %v", out.String(), err)
	}
	for _, nonsense := range []string{"pay", "pay bob lots", "steal"} {
		if alice.do(nonsense, io.Discard) == nil {
			t.Errorf("%q: no error", nonsense)
		}
	}
}
