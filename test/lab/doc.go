// Package lab tests the xppg program behind real NATs: Linux network
// namespaces with nftables in between, joined by an internet that delays and
// loses packets. It needs root, Linux, ip and nft; the test against a real STUN
// server also needs coturn's turnserver, those that map ports miniupnpd, and the
// one that reads netsim's captures tshark. To run it, as root:
//
//	XPPG_LAB=1 go test -v ./test/lab
//
// # One world
//
// Every round of a test makes a world of its own, because the kernel remembers
// flows for as long as a namespace lives, and removes it afterwards:
//
//	host alice ── lan0 router alice wan0 ──┐
//	                                       ├── internet ── wan0 host rendezvous
//	host bob ──── lan0 router bob   wan0 ──┘
//
// Each wan0 is a TUN device whose packets the test carries itself (internet),
// so that no traffic touches the machine's own network.
package lab
