package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/chunks"
	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/kcptransport"
)

const (
	demoBytes   = 16 << 20
	demoTimeout = 60 * time.Second

	demoPings    = 5
	demoPingWait = 500 * time.Millisecond // of each: a dozen round trips
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show it all in a simulated network: relay, punch, talk, move a file, share state",
		Long: `Show it all in a simulated network, in real time: two peers behind two
different NATs find their public addresses, meet through a third peer that
relays the first data, punch through, talk, move 16 MiB over a link that loses
2 % of its packets, and share state. Then the direct path is cut in the middle
of a transfer, and the relay takes over. Nothing leaves this machine.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.runDemo(cmd.Context())
		},
	}
}

// demo is the running story.
type demo struct {
	a     *app
	ctx   context.Context
	start time.Time
	world *scenario.World
	cfg   scenario.WorldConfig
	nodes []*api.Playground
	names map[string]string // of peer IDs
	table [][2]string

	alice, bob, ivy *api.Playground
}

type demoEvent struct {
	Event string  `json:"event"`
	At    float64 `json:"at_ms"`
	Text  string  `json:"text"`
}

// say tells what just happened.
func (d *demo) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	at := time.Since(d.start)
	mark := "•"
	if isTerminal(d.a.io.out) {
		mark = "\x1b[32m•\x1b[0m"
	}
	d.a.print.emit(demoEvent{"demo", millis(at), text}, "%6.2fs %s %s", at.Seconds(), mark, text)
}

func (a *app) runDemo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := &demo{a: a, ctx: ctx, start: time.Now(), names: map[string]string{}}
	d.cfg = scenario.WorldConfig{A: "port-restricted", B: "address-restricted", Seed: 1, RTT: 40 * time.Millisecond, Loss: 0.02, Rate: 200_000_000}
	defer d.close()
	for _, step := range []func() error{d.build, d.meet, d.punch, d.talk, d.file, d.state, d.cut} {
		if err := step(); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	d.closingTable()
	return nil
}

func (d *demo) close() {
	var wg sync.WaitGroup
	for _, n := range d.nodes {
		wg.Go(func() { _ = n.Close() })
	}
	wg.Wait()
	if d.world == nil {
		return
	}
	if err := d.world.Net.Close(); err != nil {
		d.a.print.error(err)
	}
}

func (d *demo) row(what, format string, args ...any) {
	d.table = append(d.table, [2]string{what, fmt.Sprintf(format, args...)})
}

func (d *demo) build() (err error) {
	if d.world, err = scenario.NewWorld(d.cfg); err != nil {
		return err
	}
	d.say("a simulated internet: alice behind a %s NAT, bob behind an %s NAT, ivy in the open", d.cfg.A, d.cfg.B)
	d.say("round trip %s, %.0f %% of all packets between alice and bob are lost", d.cfg.RTT, 100*d.cfg.Loss)
	stun := []string{d.world.R.AddrPort().String(), d.world.S.AddrPort().String()}
	if d.ivy, err = d.node("ivy", d.world.R, []string{}, func(c *api.Config) { c.Relay = api.RelayOn }); err != nil {
		return err
	}
	if _, err = d.node("a second STUN server", d.world.S, []string{}); err != nil {
		return err
	}
	if d.alice, err = d.node("alice", d.world.A, stun); err != nil {
		return err
	}
	d.bob, err = d.node("bob", d.world.B, stun)
	return err
}

func (d *demo) node(name string, p scenario.Place, stun []string, change ...func(*api.Config)) (*api.Playground, error) {
	cfg := api.Config{
		App: "demo", Conn: p.Conn, STUN: stun, MaxPeers: -1,
		LocalAddrs: func() []netip.Addr { return p.Addrs() },
	}
	for _, c := range change {
		c(&cfg)
	}
	pg, err := api.Start(d.ctx, cfg)
	if err != nil {
		return nil, err
	}
	d.nodes = append(d.nodes, pg)
	d.names[pg.ID().String()] = name
	return pg, nil
}

// meet: both learn their public addresses and join the introducer.
func (d *demo) meet() error {
	for _, n := range []*api.Playground{d.alice, d.bob} {
		r, err := n.NetCheck(d.ctx, api.NetCheckOptions{})
		if err != nil {
			return err
		}
		if len(r.Public) == 0 {
			return fmt.Errorf("no STUN server answered: %v", r.Errors)
		}
		d.say("%s asks two STUN servers: seen as %s, mapping %s", d.names[n.ID().String()], r.Public[0], r.NAT.Mapping.Is)
		if _, err := n.Join(d.ctx, d.world.R.AddrPort().String()); err != nil {
			return err
		}
		d.say("%s joins ivy at %s", d.names[n.ID().String()], d.world.R.AddrPort())
	}
	return nil
}

func (d *demo) punch() error {
	d.say("alice knows bob's key only, and asks ivy to introduce them")
	start := time.Now()
	id, err := d.alice.Join(d.ctx, d.bob.ID().String())
	if err != nil {
		return err
	}
	connected := time.Since(start)
	first, _ := d.alice.PathTo(id)
	d.say("connected to bob after %s: %s%s", showDuration(connected), first.Path, d.byWay(first))
	d.row("connected", "%s after asking for bob, by %s", showDuration(connected), first.Path)
	if err := d.until(func() bool { info, _ := d.alice.PathTo(id); return info.Direct }); err != nil {
		return err
	}
	took := time.Since(start)
	x, ok := d.alice.Explain(id)
	if !ok {
		return fmt.Errorf("connected to bob without punching")
	}
	for _, c := range x.Remote {
		d.say("bob's candidate %s (%s)", c.Addr, c.Type)
	}
	info, _ := d.alice.PathTo(id)
	d.say("direct path to bob over %s, %s after asking, %d probes", info.Addr, showDuration(took), x.Probes)
	d.row("hole punched", "%s after asking for bob", showDuration(took))
	for range demoPings { // one that is lost is not sent again
		if rtt, err := pingOnce(d.ctx, d.alice, id, demoPingWait); err == nil {
			d.row("round trip", "%s", showDuration(rtt))
			break
		}
	}
	return nil
}

// byWay names the relays of a path.
func (d *demo) byWay(p api.PeerInfo) string {
	var names []string
	for _, id := range p.Via {
		names = append(names, d.names[id.String()])
	}
	if len(names) == 0 {
		return ""
	}
	return " via " + strings.Join(names, ", ")
}

// until waits for something to come true.
func (d *demo) until(f func() bool) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for !f() {
		select {
		case <-t.C:
		case <-d.ctx.Done():
			return d.ctx.Err()
		}
	}
	return nil
}

// cut breaks the direct path in the middle of a transfer. The circuit takes over, and not a byte is lost.
func (d *demo) cut() error {
	received := make(chan [32]byte, 1)
	gaps := make(chan time.Duration, 1)
	var from atomic.Int64 // when the path was cut, from when on gaps count
	d.bob.OnStream("cut", func(_ kcptransport.PeerID, s *kcptransport.Stream) {
		h, buf, longest, last := sha256.New(), make([]byte, 64<<10), time.Duration(0), time.Now()
		for {
			n, err := s.Read(buf)
			now := time.Now()
			if at := from.Load(); at != 0 && now.UnixNano() > at {
				longest = max(longest, now.Sub(last))
			}
			last = now
			_, _ = h.Write(buf[:n]) // never fails
			if err != nil {
				received <- [32]byte(h.Sum(nil))
				gaps <- longest
				return
			}
		}
	})
	data := make([]byte, demoBytes)
	_, _ = rand.Read(data) // never fails
	s, err := d.alice.OpenStream(d.ctx, d.bob.ID(), "cut")
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(data)
		sent <- errors.Join(err, s.CloseWrite())
	}()
	if !wait(d.ctx, 200*time.Millisecond) {
		return d.ctx.Err()
	}
	from.Store(time.Now().UnixNano())
	d.world.Net.Partition(d.world.A.Host, d.world.B.Host)
	d.say("the direct path is cut in the middle of a transfer")
	if err := d.until(func() bool { info, _ := d.alice.PathTo(d.bob.ID()); return !info.Direct }); err != nil {
		return err
	}
	info, _ := d.alice.PathTo(d.bob.ID())
	d.say("the path is %s%s now", info.Path, d.byWay(info))
	select {
	case err = <-sent:
	case <-d.ctx.Done():
		err = d.ctx.Err()
	}
	if err != nil {
		return err
	}
	select {
	case got := <-received:
		if got != sha256.Sum256(data) {
			return errors.New("the bytes of the transfer are not those that were sent")
		}
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
	gap := <-gaps
	d.say("every byte has arrived; bob saw a pause of %s", showDuration(gap))
	d.row("direct path cut", "the relay took over, a pause of %s, no byte lost", showDuration(gap))
	return nil
}

func (d *demo) talk() error {
	got := make(chan string, 2)
	for _, n := range []*api.Playground{d.alice, d.bob} {
		n.On("text", func(m *api.Message) { got <- fmt.Sprintf("%s hears: %s", d.names[n.ID().String()], m.Text()) })
	}
	if err := d.alice.SendText(d.ctx, "hello, bob", d.bob.ID()); err != nil {
		return err
	}
	if err := d.bob.SendText(d.ctx, "hello, alice", d.alice.ID()); err != nil {
		return err
	}
	for range 2 {
		select {
		case s := <-got:
			d.say("%s", s)
		case <-d.ctx.Done():
			return d.ctx.Err()
		}
	}
	d.row("messages", "1 each way, acknowledged")
	return nil
}

func (d *demo) file() error {
	dir, err := os.MkdirTemp("", "xppg-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := make([]byte, demoBytes)
	_, _ = rand.Read(data) // never fails
	path := filepath.Join(dir, "gift.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	s, err := d.alice.Share(d.ctx, path)
	if err != nil {
		return err
	}
	d.say("alice shares %s in %d chunks, bob fetches it", showBytes(s.Bytes), s.Chunks)
	before, _ := d.alice.PathTo(d.bob.ID())
	start := time.Now()
	bar := d.a.newProgress()
	r, err := d.bob.Fetch(d.ctx, s.Ticket.String(), filepath.Join(dir, "bob"), api.FetchOptions{Progress: func(p chunks.Progress) { bar.update(p) }})
	bar.end(err == nil)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, _ := d.alice.PathTo(d.bob.ID())
	wire := after.Link.BytesSent - before.Link.BytesSent
	mbit := float64(r.Bytes) * 8 / took.Seconds() / 1e6
	d.say("bob has every chunk, verified: %.0f Mbit/s", mbit)
	d.row("16 MiB file", "%s, %.0f Mbit/s at 2 %% loss, %.2f bytes sent for each delivered", showDuration(took), mbit, float64(wire)/float64(r.Bytes))
	return nil
}

func (d *demo) state() error {
	theirs, err := d.bob.State("demo")
	if err != nil {
		return err
	}
	changes := theirs.Watch(d.ctx, "")
	ours, err := d.alice.State("demo")
	if err != nil {
		return err
	}
	start := time.Now()
	if err := ours.Set("colour", "green"); err != nil {
		return err
	}
	d.say("alice sets colour = green")
	select {
	case c, ok := <-changes:
		if !ok {
			return d.ctx.Err()
		}
		took := time.Since(start)
		d.say("bob's copy has it %s later, version %s", showDuration(took), c.Version)
		d.row("state change", "%s from one to the other", showDuration(took))
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
	return nil
}

func (d *demo) closingTable() {
	took := time.Since(d.start)
	s := d.world.Net.Stats()
	lost := uint64(0)
	for _, n := range s.Dropped {
		lost += n
	}
	d.row("packets", "%d sent, %d delivered, %d dropped", s.Sent, s.Delivered, lost)
	d.row("in all", "%s", showDuration(took))
	width := 0
	for _, r := range d.table {
		width = max(width, len(r[0]))
	}
	var b strings.Builder
	summary := map[string]any{"event": "summary"}
	for _, r := range d.table {
		fmt.Fprintf(&b, "\n  %-*s  %s", width, r[0], r[1])
		summary[strings.ReplaceAll(r[0], " ", "_")] = r[1]
	}
	d.a.print.emit(summary, "%s", b.String())
}
