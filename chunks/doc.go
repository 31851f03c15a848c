// Package chunks shares files and folders between peers and fetches them from several peers at once, verified by
// BLAKE3, on streams that somebody else opens.
//
// Add hashes files where they are and gives a Content, whose Root names every byte, name and mode below it. A Server
// hands out what was added. Fetch gets what a Root names into a folder, from every source that has a piece of it, and
// survives a crash; with FetchConfig.Server set, it serves what it has while it is still fetching the rest.
//
//	content, err := chunks.Add(ctx, chunks.AddConfig{Paths: []string{"photos"}})
//	server.Add(content)                                  // here
//	chunks.Fetch(ctx, chunks.FetchConfig{Root: content.Root(), Dir: ".", Opener: o, Sources: peers})  // there
//
// # Content
//
// A file is cut into chunks of ChunkSize bytes, a power of two from 16 KiB to 1 MiB. A chunk is a subtree of the file's
// BLAKE3 tree, so the hash in the manifest is the plain BLAKE3 hash of the file, and every chunk is verified on its own
// with the siblings on its way to the root. Within a chunk, groups of 16 KiB (16 BLAKE3 chunks) are verified as they
// arrive: their values come first and are proven before the bytes. Chunk and group sizes are a matter of transport;
// a later version can ask for single groups without changing any hash.
//
// A Manifest is this CBOR map in deterministic encoding (RFC 8949 section 4.2.1), at most 16 MiB, 200,000 files and
// 2^22 chunks; anything that is not exactly what Encode would write is refused:
//
//	{1: version 1,
//	 2: binary logarithm of ChunkSize, 14 to 20,
//	 3: [[path, size, mode (9 permission bits), BLAKE3 hash], …]  sorted by the bytes of the path,
//	 4: [path of an empty folder, …]                              sorted}
//
// The Root is the BLAKE3 hash of these bytes. Names mean the same on every system or are refused, see CheckPath; no
// two are equal or differ in case only, and none is a folder above another. Add never follows symbolic links below the
// paths it is given; it refuses them, or leaves them out when told so. Times and owners are not kept.
//
// # Wire
//
// The opener of a stream of StreamKind sends requests, the other side answers them in order; both sides may have many
// on their way. Each is a frame: its length in 4 bytes, big-endian, then a CBOR map. Unknown keys are ignored, unknown
// operations are answered with status 5. A request has at most 128 bytes:
//
//	{1: operation, 2: id (32 bits, chosen by the sender), 3: root (32 bytes), 4: chunk, 5: since}
//
// The answer has at most 4,096 bytes, and is followed by as many bytes as it says under 4:
//
//	{1: id, 2: status, 3: text, 4: bytes that follow, 5: proof, 6: groups, 7: all, 8: list, 9: seq}
//
//	operation 1  manifest: its encoding follows
//	operation 2  have: with 7 nothing follows, the server has everything. Otherwise a set follows: one bit a chunk, the
//	             lowest first; or with 8, a list of chunk numbers (4 bytes each, big-endian) that came after the state
//	             that the request names under 5. 9 names the state now; it begins at 0.
//	operation 3  chunk: chunks are numbered through all files in the order of the manifest. 5 holds the values of the
//	             siblings on the way to the file's root, the lowest first, 32 bytes each; a node that is odd and last
//	             on its level has none there. 6 holds the values of the chunk's 16 KiB groups when there are at least two.
//	             The chunk's bytes follow.
//
//	status 0 done, 1 no such content, 2 chunk not here, 3 file changed since, 4 reading failed, 5 not understood
//
// Whoever sends bytes that do not verify, or a frame that is malformed, is not asked again and is named by
// Result.Bad; none of its bytes are stored or passed on that were not verified. A server verifies every chunk before
// sending it, so an honest one never sends bad data: a file that changed since it was shared leads to status 3.
//
// # On disk
//
// While it is under way, a download lives in a folder ".NAME.xppg-part-ROOT8" beside its final place: "lock" is held
// by the process at work, "manifest" is the encoded manifest, "data" holds the files under their own names, "journal"
// says which chunks are there and with which hashes, see journal.go. All files are made before the first byte is
// fetched, so a name that this file system does not like, missing permission or a full disk (Linux) shows early. A
// chunk is written first and journalled second; when continuing, every chunk is hashed again. When all is there, files
// and folders are synced, moved to their final names, and the hidden folder is removed. Every access goes through
// os.Root and cannot leave the target folder. Two downloads to one target exclude each other by a file lock, on
// systems that have it (Linux, macOS, BSD, Windows).
package chunks
