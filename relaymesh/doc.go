// Package relaymesh finds a way to a peer that cannot be reached directly: with the help of peers that both sides can
// reach.
//
// What it does today is introduction. A and B both hold a link to R and want a link to each other. A asks R for a
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
// The types of relaying proper (reservations, circuits, relay records) are in reserve.go. Nothing implements them yet.
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
// # Security
//
// The packets are those of an encrypted handshake between A and B, so R learns who wants to talk to whom and nothing
// else, and can drop packets but not take part. That the offer names A is R's word only: the handshake proves it.
// Everything is bounded: see [IntroducerConfig] for what R gives, and [Channel] for what the two sides take.
package relaymesh
