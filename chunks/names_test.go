package chunks

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckPathRefuses(t *testing.T) {
	for _, path := range []string{
		"", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\x00b", "a\nb", "a\x7f",
		`a\b`, `..\x`, `\\server\share`, "C:", "c:/x", "a:stream", "a/b:c",
		"con", "CON", "Con.txt", "nul", "NUL.tar.gz", "aux", "prn", "com1", "COM9.log", "lpt0", "LPT³", "com¹.x", "conin$", "CONOUT$",
		"a/NUL/b", "nul .txt", "a.", "a ", "a./b", "a /b", "...",
		"a\xff", strings.Repeat("x", 256), strings.Repeat("x/", 2048) + "x", strings.Repeat("a/", 128) + "a",
		".photos.xppg-part-abcdefgh/lock", "x/.y.xppg-part-12345678",
	} {
		if err := CheckPath(path); !errors.Is(err, ErrName) {
			t.Errorf("%q: error is %v", clip(path, 40), err)
		}
	}
}

func TestCheckPathAllows(t *testing.T) {
	for _, path := range []string{
		"a", "a/b/c", ".hidden", "..a", "a..b", "a b", "Ünïcødé/日本語", "console", "com", "com10", "com0x", "null", "aux1",
		"what?*<>|\".mp3", " leading", "-rf", "~", "$HOME", strings.Repeat("x", 255),
	} {
		if err := CheckPath(path); err != nil {
			t.Errorf("%q: %v", clip(path, 40), err)
		}
	}
}

// Whatever passes stays below the folder it is joined to, on this system and by the rules of others.
func TestCheckPathNeverEscapes(t *testing.T) {
	alphabet := rapid.SampledFrom([]string{"a", "B", "..", ".", "/", "\\", ":", "\x00", " ", "nul", "C", "é", "~", "//", "\xff", "\r"})
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(alphabet, 0, 8).Draw(t, "path"), "")
		if CheckPath(path) != nil {
			return
		}
		if !filepath.IsLocal(path) || strings.ContainsAny(path, "\\:\x00") || filepath.ToSlash(filepath.Clean(path)) != path {
			t.Fatalf("%q passes", path)
		}
	})
}

func TestFoldPath(t *testing.T) {
	for _, pair := range [][2]string{{"Straße", "STRAßE"}, {"k", "\u212a"}, {"ſ", "S"}, {"ΣΑΣ", "σας"}, {"a/B", "A/b"}} {
		if foldPath(pair[0]) != foldPath(pair[1]) {
			t.Errorf("%q and %q fold to %q and %q", pair[0], pair[1], foldPath(pair[0]), foldPath(pair[1]))
		}
	}
	if foldPath("a/b") == foldPath("a_b") {
		t.Error("different names fold alike")
	}
}

func FuzzCheckPath(f *testing.F) {
	f.Add("a/b")
	f.Add("../nul")
	f.Fuzz(func(t *testing.T, path string) {
		if CheckPath(path) == nil && !filepath.IsLocal(path) {
			t.Fatalf("%q passes", path)
		}
		if foldPath(foldPath(path)) != foldPath(path) {
			t.Fatalf("%q folds differently the second time", path)
		}
	})
}
