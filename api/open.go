package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/relaymesh"
	"github.com/2xppg/xppg/stunclient"
)

// open builds what a playground stands on: endpoint, STUN, punching,
// introductions, files and state.
func (pg *Playground) open() error {
	pg.boot = pg.randomUint64()
	local, ok := pg.cfg.Conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return fmt.Errorf("api: the socket's address is a %T, not a *net.UDPAddr", pg.cfg.Conn.LocalAddr())
	}
	bound := local.AddrPort()
	pg.gather = punch.NewGatherer(punch.GathererConfig{Local: bound, Addrs: pg.cfg.LocalAddrs, Loopback: bound.Addr().IsLoopback()})
	pg.puncher = punch.New(punch.Config{Candidates: pg.candidates, NAT: pg.gather.NAT})
	pg.intro = relaymesh.NewIntroducer(relaymesh.IntroducerConfig{
		Open: func(ctx context.Context, target kcptransport.PeerID) (relaymesh.Stream, error) {
			return pg.openTo(ctx, target, relaymesh.KindIntroduced)
		},
	})
	if err := pg.openRelay(); err != nil {
		return err
	}
	pg.stun = &stunclient.Client{
		Send:  func(b []byte, to netip.AddrPort) error { return pg.ep.WriteTo(b, to) },
		Local: bound,
		Rand:  pg.cfg.Rand,
	}
	pg.files = newFiles()
	pg.states = newStates(pg)
	cfg := kcptransport.Config{
		Conn: pg.cfg.Conn, Identity: pg.cfg.Identity, App: pg.cfg.App, Rand: pg.cfg.Rand,
		Candidates: pg.candidates, Hint: func() []byte { return pg.gather.NAT().Hint() }, OnSTUN: pg.onSTUN,
		OnTrouble: pg.trouble, OnMet: pg.met, Forwarder: pg.sw, KeepAlive: pg.cfg.KeepAlive,
	}
	if pg.cfg.Passphrase != "" {
		secret := kcptransport.RoomSecret(pg.cfg.App, pg.cfg.Passphrase)
		cfg.Secret = &secret
	}
	ep, err := kcptransport.Listen(cfg)
	if err != nil {
		return fmt.Errorf("api: start: %w", err)
	}
	pg.ep = ep
	return nil
}

// onSTUN runs on the endpoint's reader: every node asks STUN servers, and is one.
func (pg *Playground) onSTUN(b []byte, from netip.AddrPort) {
	if pg.stun.Handle(b, from) {
		return
	}
	pg.dialedBack(b)
	if answer := stunclient.Respond(b, from); answer != nil {
		_ = pg.ep.WriteTo(answer, from) // who asks asks again
	}
}

// punch looks for a direct path for a link that has none yet.
func (pg *Playground) punch(ctx context.Context, link *kcptransport.Link, timeout time.Duration) error {
	_, err := pg.puncher.Punch(ctx, link, punch.Options{RemoteNAT: punch.ParseNAT(link.RemoteHint()), Timeout: timeout})
	return err
}

// Explain tells how the latest hole punching to a peer went; false when there
// was none, because an address answered at once or nothing was tried.
func (pg *Playground) Explain(id kcptransport.PeerID) (punch.Record, bool) {
	return pg.puncher.Explain(id)
}

// discover keeps asking STUN servers for our public address until the
// playground closes: now and then, and when the network has changed.
func (pg *Playground) discover() {
	surveyed := false // since the network last changed
	for pg.ctx.Err() == nil {
		pause := stunEvery
		report, err := pg.askSTUN(pg.ctx)
		if err != nil {
			pg.note(pg.ID(), fmt.Errorf("api: STUN: %w", err))
		}
		if len(report.Results) == 0 {
			pause = stunRetryEvery
		}
		if len(pg.cfg.STUN) == 0 {
			return
		}
		surveyed = surveyed || pg.surveyOnce(report.Results)
		t := time.NewTimer(pause)
		select {
		case <-pg.ctx.Done():
		case <-t.C:
		case <-pg.stunWake:
			surveyed = false
		}
		t.Stop()
	}
}

// askSTUN asks the configured servers once and tells the gatherer.
func (pg *Playground) askSTUN(ctx context.Context) (stunclient.Report, error) {
	if len(pg.cfg.STUN) == 0 {
		return stunclient.Report{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stunTimeout)
	defer cancel()
	servers, err := stunclient.ResolveServers(ctx, nil, pg.cfg.STUN)
	report := pg.stun.Discover(ctx, servers)
	var two []netip.AddrPort
	for _, r := range report.Results {
		pg.gather.Reflexive(r.Server, r.Mapped)
		if r.Other.IsValid() && r.Server.Addr().Is4() {
			two = append(two, r.Server)
		}
	}
	pg.mu.Lock()
	pg.twoAddrs = two
	pg.mu.Unlock()
	if len(report.Results) > 0 {
		pg.wakeMesh()
		return report, nil
	}
	for _, f := range report.Failures {
		err = errors.Join(err, f.Err)
	}
	return report, err
}

// Ping sends one packet to a connected peer and returns how long its echo took.
// Packets are not sent again: without an echo it fails when ctx ends.
func (pg *Playground) Ping(ctx context.Context, id kcptransport.PeerID) (time.Duration, error) {
	p, err := pg.peer(id)
	if err != nil {
		return 0, err
	}
	return p.ping(ctx, pg.randomUint64())
}

// PathTo describes a connected peer and the path to it.
func (pg *Playground) PathTo(id kcptransport.PeerID) (PeerInfo, bool) {
	p, err := pg.peer(id)
	if err != nil {
		return PeerInfo{}, false
	}
	return p.info(), true
}
