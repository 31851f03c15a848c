package kcptransport

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestLoadOrCreateIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "identity")
	if _, err := LoadIdentity(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("loading a missing file: %v", err)
	}
	made, err := LoadOrCreateIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID() != again.ID() {
		t.Error("the file holds another identity")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %#o", info.Mode().Perm())
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files are left, want the identity alone", len(files))
	}
}

func TestLoadOrCreateIdentityRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	var wg sync.WaitGroup
	ids := make([]PeerID, 16)
	for n := range ids {
		wg.Go(func() {
			i, err := LoadOrCreateIdentity(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[n] = i.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal("two identities came out of one file")
		}
	}
}

func TestIdentityFilePermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no Unix permissions")
	}
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, formatIdentity(testIdentity(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := LoadOrCreateIdentity(path)
	if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("error %v, want one that says what to do", err)
	}
}

func TestIdentityFileDamaged(t *testing.T) {
	good := string(formatIdentity(testIdentity(1)))
	other := string(formatIdentity(testIdentity(2)))
	seedLine := good[strings.Index(good, "seed"):]
	for name, text := range map[string]string{
		"empty": "", "comment only": identityComment, "no seed": strings.TrimSuffix(good, seedLine),
		"two seeds": good + seedLine, "seed of another": strings.Replace(good, seedLine, other[strings.Index(other, "seed"):], 1),
		"cut": good[:len(good)-3], "word": good + "password hunter2\n", "three fields": strings.Replace(good, "peer ", "peer x ", 1),
		"not base32": strings.Replace(good, "seed ", "seed 1", 1), "long": good + strings.Repeat("#\n", maxIdentityFile), "binary": "\x00\xff\xfe",
		"bad letter": good[:len(good)-5] + "0" + good[len(good)-4:],
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "identity")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreateIdentity(path)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "restore it") {
				t.Fatalf("error %v, want one that names the file and says what to do", err)
			}
			seed := strings.Fields(seedLine)[1]
			if strings.Contains(err.Error(), seed[:20]) {
				t.Error("the error tells the secret")
			}
			if after, _ := os.ReadFile(path); string(after) != text {
				t.Error("the damaged file was overwritten")
			}
		})
	}
	if _, err := LoadIdentity(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(formatIdentity(testIdentity(1)))
	f.Add([]byte("# comment\r\n\r\npeer x\r\nseed y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := parseIdentity(text)
		if err != nil {
			return
		}
		if again, err := parseIdentity(formatIdentity(i)); err != nil || again.ID() != i.ID() {
			t.Errorf("written again: %v, %v", again, err)
		}
	})
}
