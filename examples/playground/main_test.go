package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/api"
)

func TestQuickStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cfg := api.Config{App: "playground-test", Listen: "127.0.0.1:0", STUN: []string{}}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, nil, w, cfg)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() || !api.IsTicket(lines.Text()) {
		t.Fatalf("%q is no ticket", lines.Text())
	}
	var out strings.Builder
	if err := run(ctx, []string{lines.Text()}, &out, cfg); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || !strings.HasSuffix(lines.Text(), "says: hello, everyone") {
		t.Errorf("heard %q", lines.Text())
	}
	if !strings.HasPrefix(out.String(), "joined ") {
		t.Errorf("said %q", out.String())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
