//go:build linux

package lab

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFile moves a file between two homes, through the hole.
func TestFile(t *testing.T) {
	needLab(t)
	t.Parallel()
	const size = 4 << 20
	p := newPair(t, realistic, place{portPreserving}, place{portPreserving}, 0)
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(content)
	file := filepath.Join(t.TempDir(), "holiday.bin")
	p.must(os.WriteFile(file, content, 0o600))

	share := p.xppg(p.bob, "share", file, "--stun", "none", "--join", p.rendezvous)
	ticket := share.wantEvent("share", startWithin).Ticket

	dir := t.TempDir()
	get := p.xppg(p.alice, "get", ticket, "-o", dir, "--stun", "none", "--join", p.rendezvous)
	code, events := get.wantExit(90 * time.Second)
	last := events[len(events)-1]
	if code != 0 || last.Event != "done" || last.Bytes != size {
		t.Fatalf("exit code %d, last event %+v", code, last)
	}
	got, err := os.ReadFile(filepath.Join(dir, "holiday.bin"))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes arrived, the same: %v (%v)", len(got), bytes.Equal(got, content), err)
	}
	t.Logf("%d bytes in %.1f s at %v each way and %v loss", size, last.Seconds, p.net.delay, p.net.loss)
	share.interrupt(endWithin)
}
