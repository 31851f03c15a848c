package netsim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whoever asks for 60 % of the rate in both directions for a minute gets what the
// link does not lose, after its delay.
func TestLinkPresets(t *testing.T) {
	for name, p := range LinkPresets {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				ha := w.public("a", "1.0.0.1", Link{})
				ha.SetLink(p.Up, p.Down)
				a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
				for _, way := range []struct {
					link     Link
					from, to *Conn
					addr     string
				}{{p.Up, a, b, "1.0.0.2:2"}, {p.Down, b, a, "1.0.0.1:1"}} {
					const count, size = 2000, 1200
					before := w.Stats()
					pause := time.Duration(float64(time.Second) * (size + headers4) * 8 / float64(way.link.Rate) / 0.6)
					for range count {
						w.send(way.from, way.addr, string(make([]byte, size)))
						time.Sleep(pause)
					}
					time.Sleep(time.Second)
					after := w.Stats()
					got := float64(after.Delivered-before.Delivered) / count
					if want := 1 - way.link.Loss; got < want-0.03 || got > want+0.02 {
						t.Errorf("%.3f of the packets arrive, want %.3f: %v", got, want, after.Dropped)
					}
					if after.Dropped[DropQueue] > before.Dropped[DropQueue] {
						t.Errorf("%d packets dropped by the queue", after.Dropped[DropQueue])
					}
					for !way.to.queue.empty() {
						w.wantPacket(way.to, string(make([]byte, size)))
					}
				}
			})
		})
	}
}

// The tables of the documentation say what the code does.
func TestDocumentedPresets(t *testing.T) {
	text, err := os.ReadFile("../docs/netsim.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range LinkPresets {
		u := p.Up
		row := fmt.Sprintf("| `%s` | %d / %d | %v | %v | %s |", name, u.Rate/1_000_000, p.Down.Rate/1_000_000, u.Delay, u.Jitter,
			strings.Join(particulars(u), ", "))
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/netsim.md does not have:\n%s", row)
		}
	}
	for name := range Presets {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("docs/netsim.md does not have the NAT %q", name)
		}
	}
	for r := range dropReasons {
		if !strings.Contains(string(text), "| "+r.String()+" |") {
			t.Errorf("docs/netsim.md does not have the reason %q", r)
		}
	}
}

// particulars tells what else a link has.
func particulars(l Link) (out []string) {
	add := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(l.Loss > 0, "loses %.1f %% in bursts of %v", 100*l.Loss, l.Burst)
	add(l.Reorder > 0, "%.1f %% up to %v late", 100*l.Reorder, l.ReorderBy)
	add(l.Duplicate > 0, "%.1f %% twice", 100*l.Duplicate)
	add(l.Queue > 0, "queue %d KiB", l.Queue>>10)
	add(l.MTU > 0, "MTU %d", l.MTU)
	add(l.DownFor > 0, "down for %v every %v", l.DownFor, l.DownEvery)
	return slices.Clip(out)
}
