package chunks

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// The journal of an unfinished download: a header, then records that are only ever appended. A chunk is written to its
// file first and to the journal second, so after a crash the journal never promises more than there is; and nothing in
// it is believed: values must lead up to the hash in the manifest, and chunks are hashed again.
//
//	header   "xppgjrn1", root (32)
//	record   flags (1: the chunk is here), level, 0, 0, file (4), index (4), value (32)
const (
	journalMagic  = "xppgjrn1"
	journalHeader = len(journalMagic) + 32
	journalRecord = 44
	journalHave   = 1
)

func appendRecord(dst []byte, flags byte, file int, n node) []byte {
	dst = append(dst, flags, byte(n.level), 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(file))
	dst = binary.BigEndian.AppendUint32(dst, uint32(n.index))
	return appendCV(dst, n.value)
}

// journalEntry is what is written when a chunk has been stored: the values that were new, and the chunk itself.
func journalEntry(p place, leaf cv, news []node) []byte {
	out := make([]byte, 0, (len(news)+1)*journalRecord)
	for _, n := range news {
		if n.level != 0 || n.index != p.index {
			out = appendRecord(out, 0, p.file, n)
		}
	}
	return appendRecord(out, journalHave, p.file, node{0, p.index, leaf})
}

// newJournal writes an empty journal.
func newJournal(root Root) []byte { return append([]byte(journalMagic), root[:]...) }

// readJournal reads a journal into c, as far as it is whole, and returns the chunks it claims, and the length of its
// whole records. ok is false when it is the journal of something else.
func readJournal(f *os.File, c *Content) (claims bitmap, length int64, ok bool, err error) {
	header := make([]byte, journalHeader)
	if _, err := io.ReadFull(f, header); err != nil {
		return nil, 0, false, nil //nolint:nilerr // a journal without header is one that was never begun
	}
	if string(header[:len(journalMagic)]) != journalMagic || Root(header[len(journalMagic):]) != c.root {
		return nil, 0, false, nil
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, false, err
	}
	claims = newBitmap(c.lay.chunks())
	records := (fi.Size() - int64(journalHeader)) / journalRecord
	buf := make([]byte, 1024*journalRecord)
	for left := records; left > 0; {
		batch := buf[:min(left, 1024)*journalRecord]
		if _, err := io.ReadFull(f, batch); err != nil {
			return nil, 0, false, fmt.Errorf("reading the journal: %w", err)
		}
		for at := 0; at < len(batch); at += journalRecord {
			c.recall(batch[at:at+journalRecord], claims)
		}
		left -= int64(len(batch) / journalRecord)
	}
	c.settle()
	return claims, int64(journalHeader) + records*journalRecord, true, nil
}

// recall takes one record in; one that makes no sense is passed over.
func (c *Content) recall(record []byte, claims bitmap) {
	level := int(record[1])
	file, index := int(binary.BigEndian.Uint32(record[4:])), int(binary.BigEndian.Uint32(record[8:]))
	if file < 0 || file >= len(c.manifest.Files) || index < 0 {
		return
	}
	n := c.lay.first[file+1] - c.lay.first[file]
	if n > 1 && c.trees[file] == nil {
		c.trees[file] = newTree(n)
	}
	if n > 1 && level < len(c.trees[file].levels) && index < len(c.trees[file].levels[level]) {
		c.trees[file].levels[level][index] = cvFrom(record[12:])
	}
	if record[0]&journalHave != 0 && level == 0 && index < n {
		claims.set(c.lay.first[file] + index)
	}
}

// settle keeps the values that lead up to the files' hashes.
func (c *Content) settle() {
	for file, t := range c.trees {
		if t != nil {
			t.settle(cvFrom(c.manifest.Files[file].Hash[:]))
		}
	}
}

// expected returns the value that a claimed chunk must have; zero when it is not known.
func (c *Content) expected(p place) cv {
	if p.count == 1 {
		return cvFrom(c.manifest.Files[p.file].Hash[:])
	}
	if t := c.trees[p.file]; t != nil {
		return t.levels[0][p.index]
	}
	return cv{}
}
