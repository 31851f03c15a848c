package punch_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

// A node has one gatherer for its socket and one puncher, and lets the puncher work on every link without a path.
func Example() {
	var endpoint *kcptransport.Endpoint // from kcptransport.Listen, with gatherer.Candidates as its Config.Candidates

	gatherer := punch.NewGatherer(punch.GathererConfig{Local: netip.MustParseAddrPort("[::]:7337")})
	puncher := punch.New(punch.Config{Candidates: gatherer.Candidates, NAT: gatherer.NAT})

	connect := func(ctx context.Context, link *kcptransport.Link) error {
		result, err := puncher.Punch(ctx, link, punch.Options{})
		if err != nil {
			return err
		}
		fmt.Println("direct by", result.Path.Path, "after", result.After)
		return nil
	}
	accept := func(ctx context.Context) error {
		for {
			link, err := endpoint.Accept(ctx)
			if err != nil {
				return err
			}
			if err := connect(ctx, link); err != nil {
				record, _ := puncher.Explain(link.Peer())
				fmt.Println(record)
			}
		}
	}
	_ = accept
}

// The side that called opens its own NATs with probes that go no farther, and then waits for the other side's.
func ExamplePlan() {
	steps := punch.Plan(punch.Observations{
		Initiator: true,
		SignalRTT: 100 * time.Millisecond,
		Remote: []kcptransport.Candidate{
			{Addr: netip.MustParseAddrPort("192.168.1.5:7337"), Type: kcptransport.Host, Priority: 200},
			{Addr: netip.MustParseAddrPort("203.0.113.9:7337"), Type: kcptransport.ServerReflexive, Priority: 100},
		},
	})
	for _, s := range steps[:5] {
		fmt.Println(s.After, s.To, s.TTL)
	}
	// Output:
	// 0s 203.0.113.9:7337 3
	// 0s 192.168.1.5:7337 3
	// 50ms 203.0.113.9:7337 3
	// 50ms 192.168.1.5:7337 3
	// 350ms 203.0.113.9:7337 0
}

func ExampleGatherer() {
	gatherer := punch.NewGatherer(punch.GathererConfig{
		Local: netip.MustParseAddrPort("0.0.0.0:7337"),
		Addrs: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.168.1.5")} },
	})
	gatherer.Reflexive(netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("203.0.113.9:7337"))
	gatherer.Reflexive(netip.MustParseAddrPort("192.0.2.2:3478"), netip.MustParseAddrPort("203.0.113.9:7337"))
	for _, c := range gatherer.Candidates() {
		fmt.Println(c.Type, c.Addr)
	}
	fmt.Println(gatherer.NAT())
	// Output:
	// host 192.168.1.5:7337
	// srflx 203.0.113.9:7337
	// mapping endpoint-independent (98 % sure), filtering unknown, port preserved (70 % sure)
}
