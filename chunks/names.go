package chunks

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names in a manifest.
const (
	maxPath      = 4096 // bytes of a whole path
	maxComponent = 255  // bytes of one component: what common file systems allow
	maxDepth     = 128  // components
)

// partMark stands in the name of every unfinished download, and therefore in no name that is shared or fetched: nobody
// can name a file that lands inside another download.
const partMark = ".xppg-part-"

// ErrName is wrapped by every error about a name that is refused.
var ErrName = errors.New("name refused")

// CheckPath reports whether path may stand in a Manifest: relative, slash-separated, valid UTF-8, at most 4,096 bytes,
// with components that mean the same on every system. So a path that one system could misread is refused on all of
// them: "..", backslashes, drive letters and streams (colons), control characters, the device names of Windows, and
// components that end in a dot or a space. The error wraps ErrName.
func CheckPath(path string) error {
	if err := refusedName(path); err != nil {
		return fmt.Errorf("chunks: %w", err)
	}
	return nil
}

func refusedName(path string) error {
	if err := checkPath(path); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrName, clip(path, 80), err)
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("it is empty")
	case len(path) > maxPath:
		return fmt.Errorf("it has %d bytes, the limit is %d", len(path), maxPath)
	case !utf8.ValidString(path):
		return errors.New("it is not UTF-8")
	case path[0] == '/':
		return errors.New("it is absolute")
	case strings.Count(path, "/") >= maxDepth:
		return fmt.Errorf("it has more than %d components", maxDepth)
	case strings.Contains(path, partMark):
		return fmt.Errorf("%q marks an unfinished download", partMark)
	}
	for component := range strings.SplitSeq(path, "/") {
		if err := checkComponent(component); err != nil {
			return err
		}
	}
	return nil
}

func checkComponent(c string) error {
	switch {
	case c == "":
		return errors.New("a component is empty")
	case c == "." || c == "..":
		return fmt.Errorf("a component is %q", c)
	case len(c) > maxComponent:
		return fmt.Errorf("a component has %d bytes, the limit is %d", len(c), maxComponent)
	case strings.HasSuffix(c, ".") || strings.HasSuffix(c, " "):
		return errors.New("a component ends in a dot or a space, which Windows drops")
	case reservedOnWindows(c):
		return fmt.Errorf("%q is a device on Windows", c)
	}
	for _, r := range c {
		switch {
		case r < 0x20 || r == 0x7f:
			return errors.New("it has a control character")
		case r == '\\' || r == ':':
			return fmt.Errorf("it has a %q", r)
		}
	}
	return nil
}

// reservedOnWindows reports whether a component names a device there, whatever its case and extension. Spaces before
// the extension do not hide a device either.
func reservedOnWindows(c string) bool {
	base, _, _ := strings.Cut(c, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	digit, ok := strings.CutPrefix(base, "COM")
	if !ok {
		digit, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && utf8.RuneCountInString(digit) == 1 && strings.ContainsAny(digit, "0123456789¹²³")
}

// foldPath maps paths that differ only in case to one string, by simple Unicode folding: they are one file on Windows
// and macOS. Names that are equal only after normalization are found when the files are made, see part.create.
func foldPath(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case r < utf8.RuneSelf:
			return r
		}
		lowest := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			lowest = min(lowest, f)
		}
		return lowest
	}, path)
}

// eachParent calls f with each folder above path, the outermost first, and with the same folder of folded, which is
// foldPath(path): folding keeps the slashes.
func eachParent(path, folded string, f func(dir, folded string) error) error {
	for i, j := 0, 0; ; i, j = i+1, j+1 {
		di, dj := strings.IndexByte(path[i:], '/'), strings.IndexByte(folded[j:], '/')
		if di < 0 || dj < 0 {
			return nil
		}
		i, j = i+di, j+dj
		if err := f(path[:i], folded[:j]); err != nil {
			return err
		}
	}
}

// clip keeps hostile input from filling an error message.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
