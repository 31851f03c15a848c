package api

import (
	"context"
	"testing"
	"time"
)

// Two peers that come by TCP and by WebSocket are linked to a relay, and talk by way of it.
func TestRelayByTCPAndWebSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	start := func(cfg Config) *Playground {
		t.Helper()
		cfg.STUN, cfg.MaxPeers = []string{}, -1
		pg, err := Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pg.Close() })
		return pg
	}
	relay := start(Config{Listen: "127.0.0.1:0", ListenTCP: "127.0.0.1:0", ListenWS: "127.0.0.1:0", Relay: RelayOn})
	tcp, ws := relay.StreamAddrs()
	got := make(chan string, 1)
	var peers []*Playground
	for _, url := range []string{"tcp://" + tcp.String(), "ws://" + ws.String()} {
		pg := start(Config{Listen: "127.0.0.1:0", Relay: RelayOff})
		if id, err := pg.Join(ctx, url); err != nil || id != relay.ID() {
			t.Fatalf("%s: %v", url, err)
		}
		pg.On("text", func(m *Message) { got <- m.From.String() + " " + m.Text() })
		peers = append(peers, pg)
	}
	if _, err := peers[0].Join(ctx, peers[1].ID().String()); err != nil {
		t.Fatal(err)
	}
	if err := peers[0].SendText(ctx, "hello", peers[1].ID()); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != peers[0].ID().String()+" hello" {
		t.Errorf("got %q", text)
	}
}

func TestListenersThatCannotBe(t *testing.T) {
	for _, cfg := range []Config{{ListenTCP: "127.0.0.1:1:1"}, {ListenTCP: "127.0.0.1:0", ListenWS: "256.0.0.1:0"}} {
		cfg.Listen, cfg.STUN = "127.0.0.1:0", []string{}
		if pg, err := Start(t.Context(), cfg); err == nil {
			pg.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
}
