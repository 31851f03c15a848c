// Package kcptransport gives a node one UDP socket, and over it encrypted links to peers that are named by their keys.
// A link carries streams (reliable, ordered, one KCP conversation each) and datagrams, survives changes of address on
// both sides, and sends on the best of the paths it knows.
//
//	ep, err := kcptransport.Listen(kcptransport.Config{Conn: conn, Identity: id, App: "example"})
//	link, err := ep.Dial(ctx, kcptransport.Dial{Peer: peer, Addrs: addrs}) // or ep.Accept(ctx)
//	stream, err := link.OpenStream(ctx, "greeting")                       // a net.Conn
//	_, err = stream.Write([]byte("hello"))
//
// # How it is built
//
//	 socket
//	   │ batches
//	reader ──── handshake packets ────▶ handshaker ──── sessions ──┐
//	   │                                                           ▼
//	   └──── data packets, one list for each link ──────────────▶ link ──▶ socket
//	                                                         path table, streams
//
// Three kinds of goroutines own all state: the reader tells packets apart by their first byte and the receiver index
// behind it, the handshaker makes links, and each link's run loop decrypts, keeps the paths, drives the streams and
// sends. They leave each other messages in bounded inboxes; packets for which there is no room are dropped. A loop has
// one timer, set to the next thing it has to do, and none of it ticks while a link is idle, apart from the packet that
// keeps a NAT mapping open. A stream has no goroutine.
//
// # Packets
//
// The first byte tells what a datagram is; docs/wire.md has every field and test vectors.
//
//	0x00-0x03  STUN, handed to Config.OnSTUN
//	0xC0 0xC1  handshake IK: the peer's key is known         type, version, index(es), Noise message
//	0xC2-0xC4  handshake XX: only an address is known        the same
//	0xC5 0xC7  proof of address: what asks for it, and a first message behind it
//	0xC6       refusal of a handshake
//	0xC8       data: receiver index (4), packet number (4), AEAD ciphertext of frames
//	0xD0       relayed, 0xD1 with a mark: the label of a circuit (4), then a handshake or data packet
//
// A full packet has at most 60 bytes of overhead above UDP, KCP's 24 included.
//
// # Links, sessions, paths
//
// There is one link to a peer at a time. Both sides may dial at once: the handshakes then lead to the same link, which
// uses the keys of the one that the lower PeerID began. Each side gives the link a number that it tells in the
// handshake; from a new number the peer sees that the other side has started anew, and its old link ends with
// [ErrReplaced].
//
// What a first handshake message says can be a replay, so its receiver answers and keeps a bounded note of it, no more.
// The link comes into being with the first data packet that opens under the new keys. After an hour, or 2^28 packets, a
// handshake like the first gives the link new keys, without a pause; the old ones are forgotten half a minute later.
//
// A path is an address of the peer, or a circuit at a relay. Packets count from wherever they come once they are
// authentic; but the link sends on a path only after the peer has answered a probe of full size there. From a source not seen
// before a link asks there and on the path in use at the same time; only the answers decide, so that a packet which
// somebody copied and sent from elsewhere changes nothing. When what was sent is followed by silence (three round
// trips, at least 200 ms) all paths that once worked are asked, and the first to answer takes over. A path in use that
// works is left only for a direct one, if it was relayed, or for a clearly faster one. KCP never learns of any of this.
//
// # Errors
//
// An error tells whose doing it is, by errors.Is and errors.As:
//
//	this side    [ErrClosed] (and net.ErrClosed): closed here. context.Canceled. [*ResetError] with Remote false.
//	the peer     [*PeerError]: it closed the link. [ErrReplaced]: it started anew. [*ResetError] with Remote true.
//	             [*HandshakeError] with Remote true: it refused; not authenticated.
//	time         a net.Error whose Timeout is true: [*GoneError], the peer is silent and the link is over;
//	             context.DeadlineExceeded, nobody answered Dial; os.ErrDeadlineExceeded, a deadline set on a stream.
//
// A GoneError is not os.ErrDeadlineExceeded, because after a deadline the stream may be used again. When Dial was
// refused by one address and others kept silent, its error is both a HandshakeError and context.DeadlineExceeded.
//
// # Limits
//
// Inboxes hold 4,096 packets, those of an endpoint together 16,384, tables 32 paths and 1,024 outstanding probes a link, and 256 unconfirmed handshakes an
// endpoint. An endpoint answers at most 1,000 first messages a second, never with more bytes than it got. Streams and
// links are bounded by [Config].
package kcptransport
