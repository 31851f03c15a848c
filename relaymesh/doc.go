// Package relaymesh finds a way to a peer that cannot be reached directly: with the help of peers that both sides can
// reach.
//
// The first help is introduction. A and B both hold a link to R and want a link to each other. A asks R for a
// [Channel] to B; R carries a few small packets in both directions, which are the handshake of a link between A and B;
// and then A and B punch (package punch). R runs an [Introducer], A calls [Introduce], and B calls [Accept] on the
// stream that R opens to it:
//
//	A                           R                           B
//	|-- stream xppg/introduce ->|                           |
//	|   request B, packet …     |-- stream xppg/introduced >|
//	|                           |   offer A, packet …       |
//	|<--------------------------|<------ accept, packet … --|
//
// A does not wait for an answer before it sends packets, so introduction adds nothing to the round trip over R.
//
// The second is relaying. A asks R for a [Circuit] to B, of 1 to 4 relays along a route that A chooses and that has no loop:
//
//	A                           R                           B
//	|-- stream xppg/circuit --->|                           |
//	|   ask B, label a          |-- stream xppg/relayed --->|
//	|                           |   offered A, label y      |
//	|                           |<----- granted, label b ---|
//	|<------ granted, label x --|                           |
//
// B holds a [Reservation] with R: R's promise to let others reach B, renewed at half time on a stream of its own, xppg/reserve. B tells
// others by which relays it can be reached. Who holds none can be reached by a few circuits only.
//
// From then on A sends packets with label x to R, outside of any stream, and R's [Switch] sends them to B with label b; B
// sends with y, and A gets a. A relay on a longer route asks the next one as it was asked. The circuit lasts as long as its
// streams: when one of them ends, so do all. What A and B do with it is the business of [kcptransport.Circuit]: for their
// link it is a path.
//
// What a switch carries can be limited: in total, for each peer that asked for circuits, and for each circuit. What a limit holds
// back waits in short queues, one for each circuit, from which networks and the peers in them are served in turn; see [Switch].
//
// # On the wire
//
// Both streams carry frames, each a length of two bytes (big-endian, 1 to 1,500, of what follows it), a type byte and
// a body:
//
//	type  name     body                          first on the stream
//	0x01  request  version (1), target (32)      from A to R
//	0x02  offer    version (1), asking peer (32) from R to B
//	0x03  accept   nothing                       from B, passed on to A
//	0x04  refuse   code (1), then the stream ends
//	0x05  packet   up to 1,499 bytes             any number, in both directions
//
// R reads the request and then passes frames on without looking at their type. Frames of unknown type are skipped.
//
// The streams of circuits have frames of the same form. A list is a number (1) and so many peers of 32 bytes; limits are bytes a second (8),
// bytes (8), circuits (4) and seconds (4), where 0 means none.
//
//	0x04  refuse   code (1), at any time, then the stream ends
//	0x10  ask      version (1), target (32), label (4), list of who asked first and the relays passed so far (empty when the
//	               first one asks), list of the relays that still follow
//	0x11  offered  version (1), who asked first (32), label (4), limits, list of the relays from there on
//	0x12  granted  label (4), limits, list of the relays from here on
//	0x13  move     empty; to both ends, and told on by the relays between, when a relay is about to end, or the
//	               circuit to reach a limit of its bytes or time: it works for some seconds more, in which another one can be
//	               set up, in the latter case by the same relay
//	0x14  reserve  version (1); to get a reservation, and each time to renew it
//	0x15  reserved limits, seconds that it lasts (4): 10 or more
//
// A label is chosen by who gets the packets, and not 0; its highest bit is clear where the circuit ends, and set at relays. On a stream of
// a circuit at most 16 KiB come in.
//
// The codes of refusals are 1 no link to the target, 2 too many at once, 3 too many in a short time, 4 the target took no stream, or no
// circuit, 5 not understood, 6 bytes or time used up, 7 the node shuts down, 8 the operator does not admit who asks, or the target, 9 the target holds
// no reservation and has all the circuits that it can have without. Others are of later versions.
//
// # Security
//
// The packets are those of an encrypted handshake between A and B, so R learns who wants to talk to whom and nothing
// else, and can drop packets but not take part. That the offer names A is R's word only: the handshake proves it.
// The same holds for circuits: relays see who talks to whom and how much. A relay can lie about who asked, which the handshake finds out,
// and about who is behind it on the route, where it can claim
// only those that were asked for. Everything is bounded: see [IntroducerConfig] for what R gives, and [Channel] for what the two sides take.
package relaymesh
