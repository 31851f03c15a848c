// Package state is a map that every node of a room keeps a copy of: Set, Get,
// Delete, Watch, and peers that bring each other up to date.
//
// # Which write wins
//
// Every write is an [Entry]: a key, a value or a deletion, a [Version] that
// orders it among all writes of all nodes (a hybrid logical clock and the
// author's key), and its Base, the highest version of the key its author had
// seen. It is signed by its author, and only what an author signed is ever
// stored or passed on.
//
// A write supersedes everything up to its base. What is left of a key, its
// siblings, are the writes that are newer than every base: more than one only
// when authors wrote without knowing of each other. All nodes that have seen
// the same writes have the same siblings, whatever the order in which they saw
// them and however often: with E the set of writes seen of a key, the siblings
// are
//
//	{ e in E : e.Version > max { f.Base : f in E } }
//
// of which the 8 newest are kept. That is a function of a set, which grows by
// union, so replicas converge. (A write that is dropped never matters again: its
// own base is below its version, and whatever removes newer siblings removes
// it, too.)
//
// Reading returns the value of the newest sibling: the last writer wins. A map
// with a [Config.Merge] function folds the siblings' values, oldest first,
// instead; the result is computed by each node for itself and signed by no one
// until somebody writes it back. When the newest sibling is a deletion, the key
// is deleted.
//
// A base is a single version, not a set of them, so a write also supersedes
// older writes that its author never saw. That changes nothing about which write
// is the last; but a merge function does not get to see such a write. What must
// not be lost at all belongs under a key of its own, as the entries of a ledger
// do (examples/ledger).
//
// # Bringing a peer up to date
//
// Two nodes compare 256 hashes of their keys and versions, and exchange the
// entries of those that differ; changes after that are sent as they happen. A
// node passes on what was news to it, never to where it came from. Every five
// minutes maps are compared again.
//
// On a stream of kind [StreamKind] each frame is a length of four bytes
// (big-endian, at most 256 KiB) and that many bytes of CBOR:
//
//	opener                                      other side
//	hello: map, what is wanted, hashes    ->
//	                                      <-    status: differing buckets, or a refusal
//	                                      <-    entries … end     (if the opener pulls)
//	entries … end                         ->                      (if it pushes)
//	                                      <-    end: all taken in (if it pushes)
//
// and on a stream for changes, entries after the status until the stream ends.
//
// # Limits and safety
//
// Everything that comes from a peer is bounded and verified before it is
// stored. An entry whose clock is more than a minute ahead of ours is refused,
// because it would win against every honest write until then. Of two entries that
// an author signed with one version, all nodes keep the same one. Whoever may
// join the room may write any key. Deletions are kept for a week: a node that was
// away for longer may bring a deleted key back.
package state
