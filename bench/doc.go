// Command bench compares xppg's link with quic-go, a plain kcp.UDPSession and TCP with TLS 1.3, side by side in one
// run: both ends in one process (but each relay in one of its own), contenders taking turns, medians of several rounds.
//
//	go run . [-runs 3] [-only loopback|lossy|echo|forward] [-contender NAME] [-json] [-cpuprofile FILE] [-relayprofile NAMES]
//
//	loopback  one stream of 256 MiB over 127.0.0.1: Mbit/s, seconds of CPU for each GB (10^9 bytes)
//	lossy     64 MiB through a simulated link (package netsim, in real time) of 100 Mbit/s and a round trip of 50 ms
//	          with a queue of one bandwidth-delay product, without loss and with 2 % random loss each way: goodput as
//	          part of the link, bytes on the link for each byte delivered
//	echo      100 bytes there and back on one stream over 127.0.0.1, back to back and one every 10 ms: p50, p99
//	forward   one relay process between two sockets on 127.0.0.1, packets of 1,200 and 100 bytes: packets/s, CPU of the
//	          relay for each GB. Contenders: xppg's relay, a bare forwarder with the same batches, coturn (package
//	          coturn must be installed), a circuit relay v2 of go-libp2p (bytes of a stream, counted as packets). Then
//	          packets of 20 circuits in turns, from one socket to 20, for the first two
//
// It is a module of its own, so that who uses xppg does not have to download its competitors.
package main
