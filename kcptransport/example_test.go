package kcptransport_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/netip"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
)

func listen() *kcptransport.Endpoint {
	conn, err := udp.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	id, err := kcptransport.NewIdentity(nil)
	if err != nil {
		log.Fatal(err)
	}
	ep, err := kcptransport.Listen(kcptransport.Config{Conn: conn, Identity: id, App: "example"})
	if err != nil {
		log.Fatal(err)
	}
	return ep
}

// Two nodes: one knows the address of the other, learns its key by joining, and opens a stream.
func Example() {
	ctx := context.Background()
	alice, bob := listen(), listen()
	defer alice.Close()
	defer bob.Close()

	go func() {
		link, err := bob.Accept(ctx)
		if err != nil {
			return
		}
		stream, err := link.AcceptStream(ctx)
		if err != nil {
			return
		}
		fmt.Fprintf(stream, "welcome to the %s", stream.Kind())
		stream.CloseWrite()
	}()

	link, err := alice.Dial(ctx, kcptransport.Dial{Addrs: []netip.AddrPort{bob.LocalAddr()}})
	if err != nil {
		log.Fatal(err)
	}
	stream, err := link.OpenStream(ctx, "party")
	if err != nil {
		log.Fatal(err)
	}
	stream.CloseWrite()
	greeting, err := io.ReadAll(stream)
	fmt.Println(string(greeting), err)
	fmt.Println(link.Peer() == bob.ID())
	// Output:
	// welcome to the party <nil>
	// true
}

// Datagrams may get lost, and wait for nothing.
func ExampleLink_SendDatagram() {
	ctx := context.Background()
	alice, bob := listen(), listen()
	defer alice.Close()
	defer bob.Close()

	link, err := alice.Dial(ctx, kcptransport.Dial{Peer: bob.ID(), Addrs: []netip.AddrPort{bob.LocalAddr()}})
	if err != nil {
		log.Fatal(err)
	}
	if err := link.SendDatagram([]byte("tick")); err != nil {
		log.Fatal(err)
	}
	other, err := bob.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	b, err := other.ReceiveDatagram(ctx)
	fmt.Println(string(b), err)
	// Output: tick <nil>
}
