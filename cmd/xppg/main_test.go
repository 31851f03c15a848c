package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
)

func TestMain(m *testing.M) {
	testscript.Main(leaks.Checked{M: m}, map[string]func(){"xppg": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
	}})
}

// TestScripts runs the commands as a user would. Scripts know some commands
// beside those of testscript: "waitfor FILE REGEXP" waits until a file has a
// line that matches, and sets $MATCH to the first group; "oneline FILE" checks
// that a file has exactly one line; "fetch URL REGEXP" that what is at an HTTP
// address matches.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("HOME", e.WorkDir)
			port, err := freePort()
			e.Setenv("ADDR", port)
			return errors.Join(err, prepareNonsense(e))
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"waitfor": waitFor,
			"oneline": oneLineCheck,
			"fetch":   fetch,
		},
	})
}

// prepareNonsense sets what nonsense needs that makes sense: an address in use (TCP), and tickets with and without content.
func prepareNonsense(e *testscript.Env) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.Defer(func() { l.Close() })
	e.Setenv("HELD", l.Addr().String())
	t := api.Ticket{Contact: api.Contact{Peer: kcptransport.IdentityFromSeed([32]byte{1}).ID(), Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}}}
	e.Setenv("NOCONTENT", t.String())
	t.Root = make([]byte, 32)
	e.Setenv("TICKET", t.String())
	return nil
}

// freePort returns an address nobody uses just now.
func freePort() (string, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.LocalAddr().String(), nil
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	re := regexp.MustCompile(args[1])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if m := re.FindSubmatch(b); m != nil {
			if len(m) > 1 {
				ts.Setenv("MATCH", string(m[1]))
			}
			return
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Check(err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s never had a line that matches %s:\n%s", args[0], args[1], b)
		}
	}
}

func oneLineCheck(ts *testscript.TestScript, neg bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	if bytes.Count(b, []byte("\n")) != 1 || neg {
		ts.Fatalf("%s has not one line:\n%s", args[0], b)
	}
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch URL REGEXP")
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if text := resp.Status + "\n" + string(b); !regexp.MustCompile(args[1]).MatchString(text) {
		ts.Fatalf("%s does not match %s:\n%s", args[0], args[1], text)
	}
}

func TestPrintableStopsEscapes(t *testing.T) {
	if got := printable("a\x1b[31mb\nc\td\u009b"); strings.ContainsAny(got, "\x1b\n\u009b") || !strings.Contains(got, "\td") {
		t.Errorf("got %q", got)
	}
}

func TestJSONable(t *testing.T) {
	in := map[any]any{uint64(1): []any{map[any]any{"k": 1.5}}, "n": nil, "bin": []byte{1}}
	out, ok := jsonable(in).(map[string]any)
	if !ok || out["1"].([]any)[0].(map[string]any)["k"] != 1.5 || out["n"] != nil {
		t.Errorf("got %#v", out)
	}
}

func TestShowBytes(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 16 << 20: "16.0 MiB"} {
		if got := showBytes(in); got != want {
			t.Errorf("%d: %q, want %q", in, got, want)
		}
	}
}
