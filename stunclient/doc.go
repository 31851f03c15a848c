// Package stunclient finds out how a UDP socket looks from outside, by asking STUN servers (RFC 8489), and answers
// others that ask.
//
// The socket is shared: somebody else reads from it and hands over what [IsSTUN] recognises. Nothing here opens a
// socket, because a NAT's mapping belongs to the socket that will carry the traffic.
//
//	client := &stunclient.Client{Send: endpoint.WriteTo}
//
//	// For every STUN packet that arrives:
//	if !client.Handle(packet, from) {
//		if answer := stunclient.Respond(packet, from); answer != nil {
//			endpoint.WriteTo(answer, from)
//		}
//	}
//
//	// Anywhere else:
//	report := client.Discover(ctx, servers)
//
// # Trust
//
// An answer counts only if it repeats the 96 random bits of a request that is under way and comes from the address that
// was asked. Whoever can read the packets on their way can still lie about the mapped address; it is a hint where to
// try, never a proof of anything. All else is dropped and counted, see [Stats].
//
// # Behaviour of the NAT
//
// Comparing what several servers saw of the shared socket ([Client.Discover]) tells the mapping. What takes servers with
// a second address (RFC 5780) and may not touch the shared socket's mapping is asked by a [Prober] from spare sockets:
// filtering, hairpinning, and how long an idle mapping lives.
//
// # Limits
//
// Binding is the only method, UDP the only transport, and there is no authentication: public servers ask for none.
// [Respond] answers no RESPONSE-ORIGIN: a peer has one address, which who asks knows already, and the answer would grow.
package stunclient
