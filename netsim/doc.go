// Package netsim is an internet in a package: hosts, routers with NATs, links
// with rate, delay, jitter and all that goes wrong on real ones, sockets that behave
// like UDP sockets, and streams that behave like those of TCP.
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
// methods besides, so that a program written for real sockets runs unchanged. Streams
// are made by [Host.DialTCP], [Host.DialContext] and [Host.ListenTCP].
// [Presets] has NATs by their popular names, [LinkPresets] links. What cannot be in a
// sound network, such as an address that two hosts have or a share of 5, panics, as it
// is a mistake in the test.
//
// # Time
//
// A network lives in whatever time its goroutines live in: real time, or the
// virtual time of a testing/synctest bubble, where an hour of network takes
// seconds:
//
//	synctest.Test(t, func(t *testing.T) {
//		n := netsim.New(netsim.Config{Seed: 1})
//		defer n.Close()
//		// hosts, sockets, and goroutines that use them
//	})
//
// Inside a bubble one seed gives one outcome. A write only enqueues. One
// nanosecond later, when every goroutine is blocked and nothing more can be
// written at that instant, the scheduler takes what was written, in an order
// that does not depend on which goroutine ran first. Changes ([Network.Partition],
// [Router.Rebind], [Host.Move], a socket that opens or closes, …) are taken in the
// same way, before the packets of their instant. [Network.Digest] proves it.
//
// A program of many goroutines with timers of their own is another matter: a
// [SettledConn] has its loops take turns, so that its outcome, too, depends on the
// seed alone.
//
// What is left to the program that runs in the network:
//   - What it decides by chance, it must take from a seeded source.
//   - Goroutines that write to one destination through one socket at one instant
//     race each other, and so do those that change the same thing, or open
//     sockets of one host without naming a port, or dial from one host. When a paused host resumes, all
//     that it does happens at one instant.
//   - It must not read, or ask for [Network.Stats], at an instant at which packets
//     may arrive, unless it waits for them: a read that blocks gets all packets
//     of the instant at which it ends.
//
// # Faults
//
// Everything may break while programs run: [Network.Partition] and
// [Network.PartitionOneWay] keep hosts apart, [Host.Unplug] and [Router.Unplug] take a
// link down for a while and Link.DownEvery does so again and again, [Host.SetAddrs],
// [Host.Move] and [Router.SetOutsideAddrs] change addresses, [Router.Rebind] and
// [Router.Reboot] lose mappings, [Host.Pause] stops a machine until [Host.Resume],
// [Host.Crash] until [Host.Start].
//
// # Gateways
//
// A router may have programs of its own, for those inside who ask for port forwardings:
// see [Gateway]. They are on a host that the router has in its inside.
//
// # Accounting
//
// Every packet is accounted for, also one that a link made by duplicating: it was
// delivered to a socket, or dropped for a reason that has a name. [Network.Close]
// returns an error when the sums differ.
//
// [Network.Capture], [Host.Capture] and [Router.Capture] write what passes interfaces
// to a file that tcpdump, tshark and Wireshark read. Packets are there from their IP
// header on, and those that were dropped at the interface, or on its link, say why in
// a comment.
//
// # Limits
//
// There is no ICMP, no multicast but to find a UPnP router, there are no fragments; what is larger than a link's
// MTU is dropped and its sender not told, but segments of TCP are made to fit the links
// of their way. [TCPConn] says what of TCP there is. Packets of one direction
// of a link stay in order unless it has Reorder. A host is on one segment at a
// time. Behaviours of NATs are those of RFC 4787, and those of Linux, which are in
// none ([NAT]).
//
// The package imports nothing of the project around it.
package netsim
