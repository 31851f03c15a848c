package chunks

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// interrupted fetches about half of a content of 4 MiB in a folder with two files and returns the part's folder.
func interrupted(t *testing.T, n *testNet, c *Content, dir string) (part string, fetched int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r, err := Fetch(ctx, n.config(c, dir))
	wantErr(t, err, context.DeadlineExceeded)
	if r.Fetched == 0 || r.Fetched >= c.Manifest().Size() {
		t.Fatalf("%d bytes were fetched", r.Fetched)
	}
	return filepath.Join(dir, partName(c.Manifest(), c.Root())), r.Fetched
}

var twoFiles = map[string][]byte{"two/1": noise(1, 1<<20), "two/2": noise(2, 3<<20-77), "two/3": noise(3, 10), "two/4": nil}

func shareTwo(t *testing.T, rate float64) (*testNet, *Content) {
	from := t.TempDir()
	writeTree(t, from, twoFiles)
	c := share(t, 1<<14, filepath.Join(from, "two"))
	n := newTestNet(t)
	n.add(c).down.rate = rate
	return n, c
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := shareTwo(t, 1<<20)
		defer n.wait()
		dir := t.TempDir()
		_, had := interrupted(t, n, c, dir)
		if _, err := os.Lstat(filepath.Join(dir, "two")); err == nil {
			t.Error("the final name is there and the content is not")
		}
		r := n.fetch(n.config(c, dir))
		if r.Reused != had || r.Fetched != c.Manifest().Size()-had {
			t.Errorf("had %d, reused %d, fetched %d", had, r.Reused, r.Fetched)
		}
		wantTree(t, dir, twoFiles)
	})
}

// Whatever happened to the folder meanwhile, nothing wrong gets a final name.
func TestResumeDamaged(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, part string){
		"a byte of the data": func(t *testing.T, part string) {
			flip(t, filepath.Join(part, partData, "two/2"), 100_000)
		},
		"a byte of the journal": func(t *testing.T, part string) { flip(t, filepath.Join(part, partJournal), 5000) },
		"journal cut":           func(t *testing.T, part string) { truncate(t, filepath.Join(part, partJournal), 3001) },
		"journal empty":         func(t *testing.T, part string) { truncate(t, filepath.Join(part, partJournal), 0) },
		"journal header":        func(t *testing.T, part string) { flip(t, filepath.Join(part, partJournal), 20) },
		"data cut":              func(t *testing.T, part string) { truncate(t, filepath.Join(part, partData, "two/1"), 50_000) },
		"data gone":             func(t *testing.T, part string) { os.RemoveAll(filepath.Join(part, partData)) },
		"manifest":              func(t *testing.T, part string) { flip(t, filepath.Join(part, partManifest), 10) },
		"manifest gone":         func(t *testing.T, part string) { os.Remove(filepath.Join(part, partManifest)) },
		"a file is a folder": func(t *testing.T, part string) {
			os.Remove(filepath.Join(part, partData, "two/2"))
			os.Mkdir(filepath.Join(part, partData, "two/2"), 0o755)
		},
		"a file is a link": func(t *testing.T, part string) {
			os.Remove(filepath.Join(part, partData, "two/2"))
			os.Symlink("/etc/passwd", filepath.Join(part, partData, "two/2"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := shareTwo(t, 1<<20)
				defer n.wait()
				dir := t.TempDir()
				part, had := interrupted(t, n, c, dir)
				damage(t, part)
				r := n.fetch(n.config(c, dir))
				if r.Reused > had || r.Reused+r.Fetched != c.Manifest().Size() {
					t.Errorf("had %d, reused %d, fetched %d", had, r.Reused, r.Fetched)
				}
				wantTree(t, dir, twoFiles)
			})
		})
	}
}

func flip(t *testing.T, path string, offset int64) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// With the manifest and everything else on disk, no source is needed to finish: a crash just before the final names.
func TestResumeWithoutSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := shareTwo(t, 0)
		defer n.wait()
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		p, err := openPart(root, newContent(c.manifest, c.encoded), make([]bool, 4))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.prepare(t.Context(), func(int) {}); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, c.manifest.ChunkSize)
		for chunk := range c.lay.chunks() {
			data, proof, err := c.readChunk(buf, chunk)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.write(c.lay.place(chunk), data); err != nil {
				t.Fatal(err)
			}
			if err := p.note(chunk, joinGroups(proof.groups, c.lay.place(chunk).count == 1), proof.siblings); err != nil {
				t.Fatal(err)
			}
		}
		p.close()
		empty := newTestNet(t)
		r := empty.fetch(empty.config(c, dir))
		if r.Fetched != 0 || r.Reused != c.Manifest().Size() {
			t.Errorf("reused %d, fetched %d", r.Reused, r.Fetched)
		}
		wantTree(t, dir, twoFiles)
	})
}

// A crash between two of the final names.
func TestResumeHalfPlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sharePhotos(t)
		n := newTestNet(t)
		n.add(c).down.rate = 100 << 10
		defer n.wait()
		dir := t.TempDir()
		part, _ := interrupted(t, n, c, dir)
		writeTree(t, dir, map[string][]byte{"notes.txt": photos["notes.txt"]})
		os.Remove(filepath.Join(part, partData, "notes.txt"))
		n.fetch(n.config(c, dir))
		wantPhotos(t, dir)
	})
}

func FuzzJournal(f *testing.F) {
	c := newContent(manifest(file("a", 1<<20), file("b", 5), file("c", 0)), nil)
	f.Add(append(newJournal(c.root), journalEntry(c.lay.place(1), cv{1}, []node{{1, 0, cv{2}}})...))
	path := filepath.Join(f.TempDir(), "journal")
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newContent(c.manifest, nil)
		if err := os.WriteFile(path, append(newJournal(c.root), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		claims, length, ok, err := readJournal(file, c)
		if err != nil || !ok || length > int64(len(b)+journalHeader) {
			t.Fatal(length, ok, err)
		}
		for chunk := claims.nextCommon(nil, 0); chunk >= 0; chunk = claims.nextCommon(nil, chunk+1) {
			if at := c.lay.place(chunk); at.count > 1 && c.expected(at) != (cv{}) {
				t.Fatal("a value was believed that leads nowhere")
			}
		}
	})
}
