package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/kcptransport"
)

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// printer writes events: as text for people, or with --json as one object a
// line. It may be used by several goroutines.
type printer struct {
	mu   sync.Mutex
	io   stdio
	json bool
}

// event is a JSON line. The struct given to emit must have an "event" field.
func (p *printer) emit(event any, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.json {
		if format != "" {
			fmt.Fprintf(p.io.out, format+"\n", args...)
		}
		return
	}
	b, err := json.Marshal(event)
	if err != nil { // a value that came from a peer and has no JSON form
		b, _ = json.Marshal(errorEvent{Event: "error", Error: "cannot show an event as JSON: " + err.Error()})
	}
	fmt.Fprintf(p.io.out, "%s\n", b)
}

// note writes a remark for people to standard error; with --json, nothing.
func (p *printer) note(format string, args ...any) {
	if p.json {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.io.err, format+"\n", args...)
}

func (p *printer) error(err error) {
	if p.json {
		p.emit(errorEvent{Event: "error", Error: oneLine(err)}, "")
		return
	}
	p.note("xppg: %s", oneLine(err))
}

// oneLine turns an error, perhaps a joined one, into a line.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

type errorEvent struct {
	Event string `json:"event"`
	Error string `json:"error"`
}

type peerEvent struct {
	Event string  `json:"event"` // "peer" or "path"
	Peer  string  `json:"peer"`
	State string  `json:"state,omitempty"`
	Path  string  `json:"path,omitempty"`
	Addr  string  `json:"addr,omitempty"`
	RTT   float64 `json:"rtt_ms"`

	Via []string `json:"via,omitempty"` // IDs of the relays, ours first
}

// ids writes peer IDs out.
func ids(list []kcptransport.PeerID) (out []string) {
	for _, id := range list {
		out = append(out, id.String())
	}
	return out
}

// byWay names the relays of a path for people; nothing when it is direct.
func byWay(list []kcptransport.PeerID) string {
	if len(list) == 0 {
		return ""
	}
	short := make([]string, len(list))
	for i, id := range list {
		short[i] = id.Short()
	}
	return " via " + strings.Join(short, ", ")
}

// playgroundEvent shows what happened in the playground.
func (p *printer) playgroundEvent(e api.Event) {
	switch e.Type {
	case api.EventError:
		p.error(e.Err)
		return
	case api.EventPeer, api.EventPath:
	default:
		return
	}
	ev := peerEvent{Event: string(e.Type), Peer: e.Peer.String(), State: e.State, Path: e.Path, RTT: millis(e.RTT), Via: ids(e.Via)}
	if e.Addr.IsValid() {
		ev.Addr = e.Addr.String()
	}
	what := e.State
	if e.Type == api.EventPath {
		what = "changed path"
	}
	if ev.Addr != "" {
		what += fmt.Sprintf(", %s %s%s, %s", e.Path, e.Addr, byWay(e.Via), showDuration(e.RTT))
	} else if e.Err != nil {
		what += ": " + oneLine(e.Err)
	}
	p.emit(ev, "* %s %s", e.Peer.Short(), what)
}

// millis is a duration in milliseconds with three decimals.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

func showDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// showBytes is a count of bytes for people, in binary units.
func showBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1024, "KMGTP"
	i := 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// isTerminal says whether w is one, so that colour and bars go nowhere else.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
