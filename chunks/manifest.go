package chunks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a Manifest.
const (
	MaxManifest = 16 << 20 // bytes of an encoded Manifest
	MaxFiles    = 200_000  // files, and separately empty folders
	maxChunks   = 1 << 22  // chunks of all files: 1 TiB at 256 KiB, 4 TiB at 1 MiB

	minChunkLog, maxChunkLog = 14, 20
	maxChunk                 = 1 << maxChunkLog

	manifestVersion = 1
)

// ErrManifest is wrapped by every error about a manifest that is malformed or beyond the limits.
var ErrManifest = errors.New("bad manifest")

// Manifest lists what one Root names. Add and ParseManifest make it; it must not be changed afterwards, and then
// goroutines may share it.
type Manifest struct {
	ChunkSize int      // bytes of every chunk but the last of a file: a power of two from 16 KiB to 1 MiB
	Files     []File   // sorted by path
	Dirs      []string // folders that hold nothing, sorted
}

// File is one regular file of a Manifest.
type File struct {
	Path string      // slash-separated and relative, see CheckPath
	Size int64       // bytes
	Mode fs.FileMode // permission bits only; never set-uid, set-gid or sticky
	Hash [32]byte    // the BLAKE3 hash of the content, the same that b3sum prints
}

// manifestWire and fileWire are what is encoded, drawn in the package comment.
type manifestWire struct {
	Version  uint64     `cbor:"1,keyasint"`
	ChunkLog uint8      `cbor:"2,keyasint"`
	Files    []fileWire `cbor:"3,keyasint"`
	Dirs     []string   `cbor:"4,keyasint"`
}

type fileWire struct {
	_    struct{} `cbor:",toarray"`
	Path string
	Size uint64
	Mode uint16
	Hash []byte
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: MaxFiles,
		MaxMapPairs:      16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options
	}
	return v
}

// Encode returns the one deterministic encoding (RFC 8949 section 4.2.1) of m, or an error when m is beyond the limits.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("chunks: encoding a manifest: %w: %w", ErrManifest, err)
	}
	w := manifestWire{Version: manifestVersion, Files: make([]fileWire, len(m.Files)), Dirs: m.Dirs}
	if w.Dirs == nil {
		w.Dirs = []string{}
	}
	for w.ChunkLog = minChunkLog; 1<<w.ChunkLog < m.ChunkSize; w.ChunkLog++ {
	}
	for i, f := range m.Files {
		w.Files[i] = fileWire{Path: f.Path, Size: uint64(f.Size), Mode: uint16(f.Mode), Hash: f.Hash[:]}
	}
	b, err := encMode.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("chunks: encoding a manifest: %w", err)
	}
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("chunks: encoding a manifest: %w: it takes %d bytes, the limit is %d (share fewer files at once)",
			ErrManifest, len(b), MaxManifest)
	}
	return b, nil
}

// ParseManifest reads an encoded manifest. It accepts exactly what Encode produces, so equal manifests have equal
// roots; b comes from the network and may be hostile. The error wraps ErrManifest, and ErrName for a refused name.
func ParseManifest(b []byte) (*Manifest, error) {
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("chunks: reading a manifest: %w: %w", ErrManifest, err)
	}
	return m, nil
}

func parseManifest(b []byte) (*Manifest, error) {
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(b), MaxManifest)
	}
	var w manifestWire
	if err := decMode.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	if w.Version != manifestVersion {
		return nil, fmt.Errorf("its version is %d, this program knows %d (get a newer one)", w.Version, manifestVersion)
	}
	if w.ChunkLog < minChunkLog || w.ChunkLog > maxChunkLog {
		return nil, fmt.Errorf("chunks of 2^%d bytes", w.ChunkLog)
	}
	m := &Manifest{ChunkSize: 1 << w.ChunkLog, Files: make([]File, len(w.Files)), Dirs: w.Dirs}
	for i, f := range w.Files {
		if len(f.Hash) != 32 || int64(f.Size) < 0 {
			return nil, fmt.Errorf("file %d: impossible size or hash", i)
		}
		m.Files[i] = File{Path: f.Path, Size: int64(f.Size), Mode: fs.FileMode(f.Mode), Hash: [32]byte(f.Hash)}
	}
	again, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("it is not in deterministic form")
	}
	return m, nil
}

// check holds what both directions require.
func (m *Manifest) check() error {
	switch {
	case m.ChunkSize < 1<<minChunkLog || m.ChunkSize > maxChunk || m.ChunkSize&(m.ChunkSize-1) != 0:
		return fmt.Errorf("chunks of %d bytes", m.ChunkSize)
	case len(m.Files) > MaxFiles || len(m.Dirs) > MaxFiles:
		return fmt.Errorf("%d files and %d empty folders, the limit is %d of each", len(m.Files), len(m.Dirs), MaxFiles)
	case len(m.Files)+len(m.Dirs) == 0:
		return errors.New("it lists nothing")
	}
	if err := m.checkFiles(); err != nil {
		return err
	}
	return m.checkNames()
}

func (m *Manifest) checkFiles() error {
	var total int64
	for _, f := range m.Files {
		if f.Mode&^fs.ModePerm != 0 {
			return fmt.Errorf("%q: mode %v has more than permission bits", clip(f.Path, 80), f.Mode)
		}
		n := chunksOf(f.Size, m.ChunkSize)
		if f.Size < 0 || n > maxChunks {
			return fmt.Errorf("%q: a size of %d bytes", clip(f.Path, 80), f.Size)
		}
		if f.Size == 0 && f.Hash != emptyHash {
			return fmt.Errorf("%q: an empty file with the hash of another", clip(f.Path, 80))
		}
		if total += n; total > maxChunks {
			return fmt.Errorf("more than %d chunks of %d bytes (share less at once)", maxChunks, m.ChunkSize)
		}
	}
	return nil
}

// checkNames requires sorted, safe names of which none is another one, or a folder above it, on any file system.
func (m *Manifest) checkNames() error {
	if !slices.IsSortedFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) }) || !slices.IsSorted(m.Dirs) {
		return errors.New("its names are not sorted")
	}
	leaves := make(map[string]string, len(m.Files)+len(m.Dirs)) // folded path → path
	add := func(path string) error {
		if err := refusedName(path); err != nil {
			return err
		}
		folded := foldPath(path)
		if other, ok := leaves[folded]; ok {
			return fmt.Errorf("%w: %q and %q are one file on some systems", ErrName, clip(other, 80), clip(path, 80))
		}
		leaves[folded] = path
		return nil
	}
	for _, f := range m.Files {
		if err := add(f.Path); err != nil {
			return err
		}
	}
	for _, d := range m.Dirs {
		if err := add(d); err != nil {
			return err
		}
	}
	return checkFolders(leaves)
}

// checkFolders refuses a leaf that is also a folder above another, and folders that differ only in case.
func checkFolders(leaves map[string]string) error {
	spelled := make(map[string]string) // folded folder → folder
	for foldedPath, path := range leaves {
		err := eachParent(path, foldedPath, func(dir, folded string) error {
			if leaf, ok := leaves[folded]; ok {
				return fmt.Errorf("%w: %q is a folder for %q", ErrName, clip(leaf, 80), clip(path, 80))
			}
			if other, ok := spelled[folded]; ok && other != dir {
				return fmt.Errorf("%w: folders %q and %q are one on some systems", ErrName, clip(other, 80), clip(dir, 80))
			}
			spelled[folded] = dir
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Size returns the bytes of all files.
func (m *Manifest) Size() (total int64) {
	for _, f := range m.Files {
		total += f.Size
	}
	return total
}

// Chunks returns the number of chunks of all files.
func (m *Manifest) Chunks() (total int) {
	for _, f := range m.Files {
		total += int(chunksOf(f.Size, m.ChunkSize))
	}
	return total
}

// Names returns the first components of all paths, sorted: what appears in the folder that Fetch fills.
func (m *Manifest) Names() []string {
	var names []string
	add := func(path string) {
		name, _, _ := strings.Cut(path, "/")
		names = append(names, name)
	}
	for _, f := range m.Files {
		add(f.Path)
	}
	for _, d := range m.Dirs {
		add(d)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
