// Package netsim is an internet in a package: hosts, routers with NATs, links
// with rate, delay, jitter and loss, and sockets that behave like UDP sockets.
//
// A network is made of segments, to which hosts and routers are attached by
// links. A packet goes up the link of its sender to the segment, and down the
// link of whoever has its destination address there; when nobody has, down to
// the segment's router, which translates it and sends it on:
//
//	  alice            bob
//	    |               |             links: Delay, Rate, Loss, …
//	--- home ---    --- cafe ---      segments made by NewSegment
//	    |               |
//	 router          router           NAT: Mapping, Filtering, Ports
//	    |               |
//	------- internet ---------        the segment that Internet returns
//	            |
//	          server
//
// Sockets are made by [Host.ListenUDP]. A [Conn] is a net.PacketConn with batch
// methods besides, so that a program written for real sockets runs unchanged.
//
// # Time
//
// A network lives in whatever time its goroutines live in: real time, or the
// virtual time of a testing/synctest bubble, where an hour of network takes
// seconds. Inside a bubble one seed gives one outcome: a write only enqueues, and
// one nanosecond later, when every goroutine is blocked and nothing more can be
// written at that instant, the scheduler takes what was written in an order
// that does not depend on which goroutine ran first. [Network.Digest] proves it.
// What a program decides by chance, it must take from a seeded source as well.
//
// # Accounting
//
// Every packet is accounted for: it was delivered to a socket, or dropped for a
// reason that has a name. [Network.Close] returns an error when the sums differ.
//
// The package imports nothing of the project around it.
package netsim
