package relaymesh_test

import (
	"context"
	"fmt"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// A asks the peer at the other end of a link for an introduction, and dials the target through it.
func ExampleIntroduce() {
	dial := func(ctx context.Context, endpoint *kcptransport.Endpoint, introducer *kcptransport.Link, target kcptransport.PeerID) (*kcptransport.Link, error) {
		opener := relaymesh.OpenerFunc(func(ctx context.Context, kind string) (relaymesh.Stream, error) {
			return introducer.OpenStream(ctx, kind)
		})
		channel, err := relaymesh.Introduce(ctx, opener, target)
		if err != nil {
			return nil, err
		}
		go feed(endpoint, channel) // for as long as the channel lasts: the link needs it until it has a path
		return endpoint.Dial(ctx, kcptransport.Dial{Peer: target, Signal: channel})
	}
	_ = dial
}

// feed hands what comes through a channel to the endpoint until the channel ends, after 30 s at the latest.
func feed(endpoint *kcptransport.Endpoint, channel *relaymesh.Channel) {
	defer channel.Close()
	for {
		packet, err := channel.Recv()
		if err != nil {
			return
		}
		endpoint.HandleSignal(packet, channel)
	}
}

// B accepts the streams of kind relaymesh.KindIntroduced that its peers open.
func ExampleAccept() {
	serve := func(endpoint *kcptransport.Endpoint, stream *kcptransport.Stream) {
		channel, from, err := relaymesh.Accept(stream)
		if err != nil {
			return
		}
		fmt.Println("said to come from", from.Short())
		feed(endpoint, channel)
	}
	_ = serve
}

// R serves the streams of kind relaymesh.KindIntroduce that its peers open.
func ExampleIntroducer() {
	var endpoint *kcptransport.Endpoint // from kcptransport.Listen

	introducer := relaymesh.NewIntroducer(relaymesh.IntroducerConfig{
		Open: func(ctx context.Context, target kcptransport.PeerID) (relaymesh.Stream, error) {
			link := endpoint.Link(target)
			if link == nil {
				return nil, relaymesh.ErrUnknownPeer
			}
			return link.OpenStream(ctx, relaymesh.KindIntroduced)
		},
	})
	serve := func(ctx context.Context, from *kcptransport.Link, stream *kcptransport.Stream) {
		if err := introducer.Serve(ctx, from.Peer(), stream); err != nil {
			fmt.Println(err)
		}
	}
	_ = serve
}
