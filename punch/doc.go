// Package punch opens direct paths between peers behind NATs by sending from both sides at the same moment.
//
// Before it, two peers have a link without a path: the handshake ran through an introducer (package relaymesh) and told
// each side the other's candidates, which a [Gatherer] collects. After it, the link has a direct path, or everybody
// knows why not: [Puncher.Explain].
//
//	A  |-- handshake 1 -->|            R            |-- handshake 1 -->|  B
//	   |<- handshake 2 ---|                         |<- handshake 2 ---|
//	   |-- confirmation ->| half a round trip later |-- confirmation ->|  B starts at once
//	   |-- openers: die on the way ->X                                 |
//	   |<--------------------------------- probes to all of A ---------|
//	   |-- answers, and probes of its own ---------------------------->|  and the path is in use
//	   |-- probes to all candidates of B, if none has come for long -->|
//
// A's openers are probes with a time to live of 3 hops: enough for two NATs of A's. They open these for B's probes, which open B's NAT for
// A's. No probe reaches a NAT that was not opened before: a Linux router without a rule that drops unsolicited input
// would take that as a connection of its own, and give the port that was told away. A probe that arrives from an address nobody told (a NAT with
// address-dependent mapping) makes that address a candidate.
//
// # How
//
// What to send where and when is a pure function, [Plan], of what is known: [Observations] in, timed [Step]s out.
// Knowledge of the NATs ([NAT]) orders the steps and never forbids one, because classification is often wrong.
// [Puncher.Punch] carries a plan out on a link, asks for more probes to addresses that appear meanwhile, and stops at
// the first direct path or after 10 seconds.
//
// A link whose path has failed is punched for in the same way, once its two sides have met again
// ([kcptransport.Config].OnMet); where the peer was before is a candidate then, too. A Linux router keeps a port that was
// given away for 30 s after the last packet to it. So who fails in this is silent for longer than that
// ([kcptransport.Link.Quiet]) before it tries again; package api does.
//
// # Limits
//
// At most 16 candidates are told and 32 tried, with at most 300 probes in 10 s, 5 ms apart after a first burst of 4.
// A peer that names somebody else's addresses as its own can direct that much at them and no more (RFC 8445 section
// 19.5.1); probes are authenticated, so nobody without a link to us can do even that.
package punch
