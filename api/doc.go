// Package api is xppg for applications: a [Playground] is one node, reached by
// three verbs.
//
//	pg, err := api.Start(ctx, api.Config{App: "game"})
//	defer pg.Close()
//	pg.On("move", func(m *api.Message) { … })      // take in messages of a kind
//	pg.Join(ctx, "192.0.2.7:7337")                  // an address, a ticket, or a peer's ID
//	pg.Send(ctx, "move", Move{3, 4})                // to everyone, or to the peers named
//
// Request sends and waits for a reply; Share and Fetch move files; State gives
// a replicated map; OpenStream and OnStream give streams to whoever wants more.
// [QuickChat] is a chat in a few lines.
//
// # Who meets whom
//
// Peers of one application (Config.App) tell each other of their peers, in
// records that each signs for itself, and connect on their own up to
// Config.MaxPeers. Two peers behind NATs are introduced by any peer that has a
// link to both, and then punch holes; the introducer carries a few packets of
// their handshake and nothing else. Relays carry what follows until there is a
// direct path, and for good where there is none; where UDP is blocked they are
// reached by TCP. When nothing leads to a peer, Join says what was tried.
//
// # Messages
//
// A payload is any value that CBOR can carry, up to 1 MiB. Messages from one
// peer are handled in the order in which they were sent, one at a time and
// once; handlers for different peers run at the same time. Send returns when
// the other node took the message in, and with an error when it did not or
// may not have. A message to everyone is signed by its author and passed on by
// those who get it, so that it reaches peers without a link to the author.
//
// # Security
//
// Links are encrypted and both ends are proven (package kcptransport). A room
// with a passphrase lets in only those who know it. Without one, whoever can
// send packets to a node may join it and write in its maps. A message to
// everyone can be replayed by a peer to nodes that have not seen it; what must
// not be repeated needs a number of the application's own.
//
// # Limits
//
// A slow handler slows its sender down: at most 4 MiB of one peer's messages
// wait for it. What reaches us by way of others is left out beyond that, with an
// [EventError]. At most 1,024 records of peers are kept.
package api
