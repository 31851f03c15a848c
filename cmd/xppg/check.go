package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/2xppg/xppg/chunks"
)

// What is asked is checked before anything is started or written, so that nonsense costs a line and leaves nothing behind.

// flagError says in people's words what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	}
	wanted := map[string]string{
		"bool": "true or false is wanted", "duration": "a time such as 500ms, 10s or 5m is wanted",
		"float64": "a number is wanted", "int": "a whole number is wanted", "uint64": "a whole number from 0 on is wanted",
	}[bad.GetFlag().Value.Type()]
	if wanted == "" {
		wanted = bad.Unwrap().Error()
	}
	return fmt.Errorf("--%s %q: %s", bad.GetFlag().Name, bad.GetValue(), wanted)
}

// checkGiven refuses flags that were given without a value: an empty variable in a script is no wish for the default, least
// of all for an open room or for a relay without an allow-list.
func checkGiven(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && err == nil {
			err = fmt.Errorf(`--%s "": a value is wanted (or leave --%s out)`, f.Name, f.Name)
		}
	})
	return err
}

// checkSpan returns what is wrong with a time to spend.
func checkSpan(flag string, d, longest time.Duration) error {
	if d <= 0 || d > longest {
		return fmt.Errorf("--%s %v: more than 0 and at most %v is wanted", flag, d, longest)
	}
	return nil
}

const longestWait = 24 * time.Hour // that a command can be told to

// checkFolder returns why nothing can be written into a folder, which need not be there yet.
func checkFolder(dir string) error {
	at := filepath.Clean(dir)
	for {
		fi, err := os.Stat(at)
		if err == nil && !fi.IsDir() {
			return fmt.Errorf("%s is no folder", at)
		}
		if err == nil {
			break
		}
		if up := filepath.Dir(at); up != at && (errors.Is(err, os.ErrNotExist) || isUnderFile(at)) {
			at = up // it will be made
			continue
		}
		return err
	}
	f, err := os.CreateTemp(at, ".xppg-test-*")
	if err != nil {
		return fmt.Errorf("cannot write to %s: %w (choose another folder)", at, cause(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// isUnderFile reports whether what stands for a folder in a path is a file.
func isUnderFile(path string) bool {
	fi, err := os.Stat(filepath.Dir(path))
	return err != nil || !fi.IsDir()
}

// cause is the error below that of the file system, which names a file that nobody knows.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// checkShared returns why files and folders cannot be shared, as far as that shows without reading them.
func checkShared(paths []string) error {
	seen := map[string]string{}
	for _, p := range paths {
		if p == "" {
			return errors.New(`share "": the name of a file or folder is wanted`)
		}
		f, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("share: %w", err)
		}
		if !f.IsDir() && !f.Mode().IsRegular() {
			return fmt.Errorf("share %s: it is neither a file nor a folder", p)
		}
		open, err := os.Open(p)
		if err != nil {
			return fmt.Errorf("share: %w", err)
		}
		_ = open.Close() // nothing was written
		abs, err := filepath.Abs(p)
		if err != nil {
			return fmt.Errorf("share: %w", err)
		}
		name := filepath.Base(abs)
		if err := chunks.CheckPath(name); err != nil {
			return fmt.Errorf("share %s: others cannot store it under that name: %w", p, err)
		}
		if other, ok := seen[strings.ToLower(name)]; ok {
			return fmt.Errorf("share: %s and %s have the same name at who fetches them (share them one by one, or the folder they are in)", other, p)
		}
		seen[strings.ToLower(name)] = p
	}
	return nil
}

// exactArgs is cobra.ExactArgs with a message that says what is wanted.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s, %d arguments were given (see %s --help)", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, got %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// atMostOne is for commands that take what, or nothing.
func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%s takes %s or nothing, %d arguments were given (see %s --help)", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// oneOf makes a command that only holds others say which they are.
func oneOf(cmd *cobra.Command, names string) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		got := ""
		if len(args) > 0 {
			got = fmt.Sprintf(", not %q", args[0])
		}
		return fmt.Errorf("%s takes one of: %s%s (see %s --help)", cmd.CommandPath(), names, got, cmd.CommandPath())
	}
}

// strictHelp makes the commands that cobra adds refuse nonsense as the others do.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			show := cmd.Run
			cmd.Run = nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return fmt.Errorf("no help for %q: there is no such command (xppg --help lists them)", strings.Join(args, " "))
				}
				show(cmd, args)
				return nil
			}
		case "completion":
			oneOf(cmd, "bash, fish, powershell, zsh")
			for _, shell := range cmd.Commands() {
				shell.Args = noArgs
			}
		}
	}
}
