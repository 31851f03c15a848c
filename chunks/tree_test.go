package chunks

import (
	"bytes"
	"context"
	"testing"

	"lukechampine.com/blake3"
	"pgregory.net/rapid"
)

// The hash in the manifest is the plain BLAKE3 hash of the file, whatever the chunk size.
func TestHashIsBLAKE3(t *testing.T) {
	data := noise(1, 5<<20)
	sizes := []int{1, 1023, 1024, 1025, groupSize - 1, groupSize, groupSize + 1, 2 * groupSize, 3*groupSize + 5,
		1<<18 - 1, 1 << 18, 1<<18 + 1, 3 << 18, 1 << 20, 1<<20 + 1, 5<<20 - 77, 5 << 20}
	for _, chunkSize := range []int{1 << 14, 1 << 16, 1 << 18, 1 << 20} {
		h := newHasher(chunkSize, nil)
		for _, n := range append(sizes, 0) {
			leaves, hash, err := h.file(context.Background(), bytes.NewReader(data), int64(n))
			if err != nil || hash != blake3.Sum256(data[:n]) {
				t.Errorf("%d bytes in chunks of %d: hash %x, error %v", n, chunkSize, hash[:4], err)
			}
			if len(leaves) > 1 && hashOf(buildTree(leaves).levels[len(buildTree(leaves).levels)-1][0]) != hash {
				t.Errorf("%d bytes in chunks of %d: the tree has another root", n, chunkSize)
			}
		}
	}
}

// Every chunk is proven by its siblings, and by nothing else.
func TestProof(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 70).Draw(t, "chunks")
		leaves := make([]cv, n)
		for i := range leaves {
			leaves[i] = cv{uint32(i) + 1}
		}
		tr := buildTree(leaves)
		root := tr.levels[len(tr.levels)-1][0]
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		proof := tr.proof(nil, i)
		if !verifyProof(root, i, n, leaves[i], proof) {
			t.Fatalf("the proof of chunk %d of %d fails", i, n)
		}
		if verifyProof(root, (i+1)%n, n, leaves[i], proof) || verifyProof(root, i, n, leaves[(i+1)%n], proof) ||
			verifyProof(root, i, n, leaves[i], proof[1:]) || verifyProof(root, i, n, leaves[i], append(proof, cv{})) {
			t.Fatal("a wrong proof passes")
		}
		k := rapid.IntRange(0, len(proof)-1).Draw(t, "k")
		proof[k][3] ^= 1
		if verifyProof(root, i, n, leaves[i], proof) {
			t.Fatal("a changed proof passes")
		}
	})
}

// A tree that learned from proofs gives the same proofs, and keeps them through the journal.
func TestLearnAndSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "chunks")
		leaves := make([]cv, n)
		for i := range leaves {
			leaves[i] = cv{uint32(i) + 1}
		}
		full := buildTree(leaves)
		root := full.levels[len(full.levels)-1][0]
		learned, recalled := newTree(n), newTree(n)
		have := rapid.SliceOfDistinct(rapid.IntRange(0, n-1), rapid.ID).Draw(t, "have")
		for _, i := range have {
			for _, nd := range learned.learn(nil, i, leaves[i], full.proof(nil, i)) {
				recalled.levels[nd.level][nd.index] = nd.value
			}
		}
		if rapid.Bool().Draw(t, "garbage") && len(have) > 0 { // garbage costs chunks but is never believed
			recalled.levels[0][rapid.IntRange(0, n-1).Draw(t, "at")] = cv{9, 9, 9}
		}
		recalled.settle(root)
		for k, level := range recalled.levels {
			for i, v := range level {
				if v != (cv{}) && v != full.levels[k][i] {
					t.Fatalf("level %d, %d: a wrong value is kept", k, i)
				}
			}
		}
		for _, i := range have {
			proof := learned.proof(nil, i)
			if !verifyProof(root, i, n, leaves[i], proof) {
				t.Fatalf("chunk %d cannot be proven to others", i)
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	data := noise(1, 64<<20)
	h := newHasher(1<<18, nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := h.file(context.Background(), bytes.NewReader(data), int64(len(data))); err != nil {
			b.Fatal(err)
		}
	}
}
