package relayops

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/2xppg/xppg/relaymesh"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestMetricsShowWhatTheRelayDid(t *testing.T) {
	snap := Snapshot{Peers: 7}
	snap.Switch = relaymesh.SwitchStats{Packets: 1000, Bytes: 123456, Unknown: 4, Strange: 5, Unready: 6, Overflow: 7, Late: 8, Marked: 11, Queued: 12}
	snap.Relay = relaymesh.RelayStats{Circuits: 2, Granted: 9, Refused: map[relaymesh.RefuseCode]uint64{
		relaymesh.RefusedBusy: 3, 200: 1, 201: 1, // what a later version says
	}}
	state := State{Limits: Limits{Total: 12_500_000, Circuits: 64}, FailedReloads: 1, ReloadFailed: true}
	reg, err := NewRegistry("v1", func() Snapshot { return snap }, func() State { return state })
	if err != nil {
		t.Fatal(err)
	}
	code, body := get(t, Handler(reg, func() State { return state }), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	for _, line := range []string{
		"xppg_relay_peers 7", "xppg_relay_circuits 2", "xppg_relay_circuits_granted_total 9",
		`xppg_relay_circuits_refused_total{reason="busy"} 3`, `xppg_relay_circuits_refused_total{reason="rate"} 0`,
		`xppg_relay_circuits_refused_total{reason="other"} 2`,
		"xppg_relay_forwarded_packets_total 1000", "xppg_relay_forwarded_bytes_total 123456",
		`xppg_relay_dropped_packets_total{reason="unknown_label"} 4`, `xppg_relay_dropped_packets_total{reason="wrong_source"} 5`,
		`xppg_relay_dropped_packets_total{reason="not_ready"} 6`, `xppg_relay_dropped_packets_total{reason="overflow"} 7`,
		`xppg_relay_dropped_packets_total{reason="late"} 8`, "xppg_relay_marked_packets_total 11", "xppg_relay_queued_packets 12",
		`xppg_relay_limit_bytes_per_second{scope="total"} 1.25e+07`, `xppg_relay_limit_bytes_per_second{scope="peer"} 0`,
		"xppg_relay_limit_circuits 64", `xppg_relay_list_entries{list="deny"} 0`,
		`xppg_relay_reloads_total{result="failed"} 1`, "xppg_relay_reload_failed 1", "xppg_relay_draining 0",
		`xppg_relay_build_info{version="v1"} 1`, "go_goroutines ",
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestReadyOnlyBetweenStartAndDraining(t *testing.T) {
	state := State{}
	reg, err := NewRegistry("v1", func() Snapshot { return Snapshot{} }, func() State { return state })
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(reg, func() State { return state })
	want := func(code int, text string) {
		t.Helper()
		if c, b := get(t, h, "/readyz"); c != code || b != text+"\n" {
			t.Errorf("%d %q, want %d %q", c, b, code, text)
		}
		if c, _ := get(t, h, "/healthz"); c != http.StatusOK {
			t.Errorf("healthz: %d", c)
		}
	}
	want(http.StatusServiceUnavailable, "starting")
	state.Ready = true
	want(http.StatusOK, "ready")
	state.Draining = true
	want(http.StatusServiceUnavailable, "draining")
	if c, _ := get(t, h, "/debug/pprof/"); c != http.StatusNotFound {
		t.Errorf("something else is served: %d", c)
	}
}

func TestServerListensAndCloses(t *testing.T) {
	s, err := Serve(t.Context(), "127.0.0.1:0", Handler(nil, func() State { return State{} }))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(b) != "ok\n" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Serve(t.Context(), s.Addr.String(), nil); err == nil {
		t.Error("a second server at the same address")
	}
	s.Close()
	if resp, err := client.Get("http://" + s.Addr.String() + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("it goes on after Close")
	}
}
