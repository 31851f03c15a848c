package chunks

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"lukechampine.com/blake3"
	"pgregory.net/rapid"
)

func file(path string, size int64) File {
	f := File{Path: path, Size: size, Mode: 0o644, Hash: blake3.Sum256([]byte(path))}
	if size == 0 {
		f.Hash = emptyHash
	}
	return f
}

func manifest(files ...File) *Manifest {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return &Manifest{ChunkSize: 1 << 18, Files: files}
}

func TestManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-c][a-c0-9 é]{0,4}[a-z]`)
		m := &Manifest{ChunkSize: 1 << rapid.IntRange(14, 20).Draw(t, "log")}
		for _, p := range rapid.SliceOfNDistinct(name, 1, 8, rapid.ID).Draw(t, "paths") {
			f := file("d/"+p, rapid.Int64Range(0, 1<<33).Draw(t, "size"))
			f.Mode = fs.FileMode(rapid.IntRange(0, 0o777).Draw(t, "mode"))
			m.Files = append(m.Files, f)
		}
		m.Dirs = rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "dirs")
		slices.Sort(m.Dirs)
		slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
		b, err := m.Encode()
		if err != nil {
			t.Skip(err)
		}
		again, err := ParseManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Dirs) == 0 {
			m.Dirs, again.Dirs = nil, nil
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v", m, again)
		}
	})
}

func TestManifestRefuses(t *testing.T) {
	setuid, folder, negative := file("a", 1), file("a", 1), file("a", -1)
	setuid.Mode |= fs.ModeSetuid
	folder.Mode |= fs.ModeDir
	hollow := file("a", 0)
	hollow.Hash[0]++
	unsorted := manifest(file("a", 1), file("b", 1))
	slices.Reverse(unsorted.Files)
	for name, m := range map[string]*Manifest{
		"nothing":            manifest(),
		"escape":             manifest(file("../a", 1)),
		"twice":              manifest(file("a", 1), file("a", 1)),
		"case":               manifest(file("A", 1), file("a", 1)),
		"folder case":        manifest(file("A/x", 1), file("a/y", 1)),
		"file and folder":    manifest(file("a", 1), file("a/b", 1)),
		"file and Folder":    manifest(file("a", 1), file("A/b", 1)),
		"empty folder above": {ChunkSize: 1 << 18, Files: []File{file("a/b", 1)}, Dirs: []string{"a"}},
		"empty folder name":  {ChunkSize: 1 << 18, Files: []File{file("a", 1)}, Dirs: []string{"A"}},
		"setuid":             manifest(setuid),
		"folder mode":        manifest(folder),
		"negative":           manifest(negative),
		"huge":               manifest(file("a", 1<<62)),
		"sum":                manifest(file("a", 1<<39), file("b", 1<<39), file("c", 1)),
		"hollow":             manifest(hollow),
		"unsorted":           unsorted,
		"chunk size":         {ChunkSize: 100_000, Files: []File{file("a", 1)}},
		"chunk size 0":       {Files: []File{file("a", 1)}},
	} {
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		} else {
			wantErr(t, err, ErrManifest)
		}
	}
}

func TestParseManifestRefuses(t *testing.T) {
	good, err := manifest(file("a", 1), file("b", 0)).Encode()
	if err != nil {
		t.Fatal(err)
	}
	hash := make([]byte, 32)
	for name, b := range map[string][]byte{
		"empty":         nil,
		"cut":           good[:len(good)-1],
		"more":          append(slices.Clone(good), 0),
		"version":       must(encMode.Marshal(map[int]any{1: 2, 2: 18, 3: []any{}, 4: []any{}})),
		"extra key":     must(encMode.Marshal(map[int]any{1: 1, 2: 18, 3: []any{[]any{"a", 1, 420, hash}}, 4: []any{}, 5: 1})),
		"short hash":    must(encMode.Marshal(map[int]any{1: 1, 2: 18, 3: []any{[]any{"a", 1, 420, hash[:31]}}, 4: []any{}})),
		"negative size": must(encMode.Marshal(map[int]any{1: 1, 2: 18, 3: []any{[]any{"a", -1, 420, hash}}, 4: []any{}})),
		"huge size":     must(encMode.Marshal(map[int]any{1: 1, 2: 18, 3: []any{[]any{"a", uint64(1) << 63, 420, hash}}, 4: []any{}})),
		"setuid":        must(encMode.Marshal(map[int]any{1: 1, 2: 18, 3: []any{[]any{"a", 1, 0o4755, hash}}, 4: []any{}})),
		"log":           must(encMode.Marshal(map[int]any{1: 1, 2: 99, 3: []any{[]any{"a", 1, 420, hash}}, 4: []any{}})),
		"claimed array": {0xa4, 1, 1, 2, 18, 3, 0x9a, 0xff, 0xff, 0xff, 0xff},
		"not the form":  must(cbor.Marshal(map[string]int{"a": 1})),
	} {
		if _, err := ParseManifest(b); err == nil {
			t.Errorf("%s: read", name)
		} else {
			wantErr(t, err, ErrManifest)
		}
	}
	extended := strings.Replace(hex.EncodeToString(good), "0101", "011801", 1) // 1 in two bytes: not deterministic
	b, _ := hex.DecodeString(extended)
	if _, err := ParseManifest(b); err == nil {
		t.Error("a manifest in another form was read: content would have two roots")
	}
}

// One layout forever: the root of this manifest may not change.
func TestManifestVector(t *testing.T) {
	b, err := (&Manifest{ChunkSize: 1 << 18, Files: []File{file("a/b", 5), file("c", 0)}, Dirs: []string{"d"}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%x %s", b, rootOf(b))
	const want = "a40101021203828463612f62051901a458200da3cfa5f8b7fae9def4d324da969d3a3c03b023082b97c8a840a19482c25760" +
		"846163001901a45820af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f326204816164" +
		" 5pyywkwvqvum34jyh7inontorshvzffbec5trm25dsozujizzvba"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestManifestLimits(t *testing.T) {
	m := manifest()
	for i := range MaxFiles + 1 {
		m.Files = append(m.Files, file(fmt.Sprintf("%06d", i), 1))
	}
	if _, err := m.Encode(); err == nil {
		t.Error("too many files were encoded")
	}
	m.Files = m.Files[:MaxFiles]
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseManifest(b); err != nil || len(again.Files) != MaxFiles {
		t.Error(err)
	}
	for i := range m.Files {
		m.Files[i].Path = strings.Repeat("x", 100) + m.Files[i].Path
	}
	if _, err := m.Encode(); err == nil {
		t.Error("too many bytes were encoded")
	}
}

func TestNames(t *testing.T) {
	m := manifest(file("b/1", 1), file("b/2", 1), file("a", 1))
	m.Dirs = []string{"c/d"}
	if got := m.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
}

func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Manifest{ChunkSize: 1 << 14}
		for i, size := range rapid.SliceOfN(rapid.Int64Range(0, 5<<14), 1, 9).Draw(t, "sizes") {
			m.Files = append(m.Files, file(fmt.Sprint(i), size))
		}
		l := newLayout(m)
		at := make([]int64, len(m.Files))
		for c := range l.chunks() {
			p := l.place(c)
			if p.offset != at[p.file] || p.size < 1 || p.size > m.ChunkSize {
				t.Fatalf("chunk %d is at %+v", c, p)
			}
			at[p.file] += int64(p.size)
		}
		for i, f := range m.Files {
			if at[i] != f.Size {
				t.Fatalf("file %d: %d of %d bytes", i, at[i], f.Size)
			}
		}
		if l.chunks() != m.Chunks() {
			t.Fatal("chunks are counted differently")
		}
	})
}

func FuzzManifest(f *testing.F) {
	good, _ := (&Manifest{ChunkSize: 1 << 18, Files: []File{file("a/b", 5), file("c", 0)}, Dirs: []string{"d"}}).Encode()
	f.Add(good)
	f.Add([]byte{0xa4, 1, 1, 2, 18, 3, 0x80, 4, 0x81, 0x61, 'd'})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}
