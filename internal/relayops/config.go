package relayops

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// Setting is one line of a configuration file.
type Setting struct {
	File  string
	Line  int
	Name  string // of a flag, without dashes
	Value string // "" when the line has a name only
}

// ReadSettings reads a configuration file. Errors tell the line.
func ReadSettings(file string) ([]Setting, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSettings(file, f)
}

func parseSettings(file string, r io.Reader) (out []Setting, err error) {
	err = eachLine(file, r, func(line int, text string) error {
		name, value, _ := strings.Cut(strings.Join(strings.Fields(text), " "), " ")
		if strings.HasPrefix(name, "-") {
			return fmt.Errorf("%q: names are written without dashes", name)
		}
		if strings.Contains(name, "=") {
			return fmt.Errorf("%q: a name and its value are separated by a space", name)
		}
		out = append(out, Setting{file, line, name, value})
		return nil
	})
	return out, err
}

// Apply sets flags to what the settings say, but for those for which keep is true, such as what the command line said.
// A name that is no flag of fs, or that comes twice though the flag takes one value, is an error.
func Apply(fs *pflag.FlagSet, settings []Setting, keep func(name string) bool) error {
	seen := map[string]bool{}
	for _, s := range settings {
		f := fs.Lookup(s.Name)
		if f == nil || s.Name == "config" || s.Name == "help" {
			return fmt.Errorf("%s:%d: %q is no setting (xppg relay --help lists them)", s.File, s.Line, s.Name)
		}
		_, repeatable := f.Value.(pflag.SliceValue)
		if seen[s.Name] && !repeatable {
			return fmt.Errorf("%s:%d: %q is set twice", s.File, s.Line, s.Name)
		}
		seen[s.Name] = true
		if s.Value == "" {
			s.Value = f.NoOptDefVal
		}
		if s.Value == "" {
			return fmt.Errorf("%s:%d: %q has no value", s.File, s.Line, s.Name)
		}
		if keep(s.Name) {
			continue
		}
		if err := fs.Set(s.Name, s.Value); err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, s.Line, err)
		}
	}
	return nil
}

// eachLine calls f with every line that is more than a comment, without the comment and the space around it. Errors tell
// the line.
func eachLine(file string, r io.Reader, f func(line int, text string) error) error {
	in := bufio.NewScanner(r)
	line := 0
	for in.Scan() {
		line++
		text, _, _ := strings.Cut(in.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := f(line, text); err != nil {
			return fmt.Errorf("%s:%d: %w", file, line, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", file, line+1, err)
	}
	return nil
}
