// Package carrier lets the packets of a kcptransport.Endpoint travel over TCP and
// WebSocket to peers that UDP does not reach.
//
// A [Conn] wraps the UDP socket of an endpoint. Each connection gets an address of its
// own in 100::/64, the prefix that is on no wire (RFC 6666): what is written to that
// address leaves on the connection, and what comes in by it has it as source. So the
// endpoint dials, validates and changes paths as it does with any other address. The
// packets are the same, encrypted from end to end; the connection is trusted with
// nothing.
//
// On TCP each packet follows its length, two bytes, big-endian:
//
//	0       2
//	| length | packet (1 to 2,048 bytes) | length | …
//
// On WebSocket (RFC 6455) each packet is one binary message. A connection on which
// nothing came for two minutes, or anything else than that, is closed; who connects has ten
// seconds for the first packet. Connections that are accepted are limited in total and per
// source.
//
// Packets that wait for a slow connection are bounded; what comes besides is dropped, as
// a queue on the way would. The endpoint is never held up. Conn.Congested tells where they
// wait for long, so that a relay can have senders slow down.
package carrier
