package kcptransport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxIdentityFile bounds what is read from an identity file, in bytes.
const maxIdentityFile = 4 << 10

// LoadIdentity reads the identity that LoadOrCreateIdentity wrote to path. On systems with Unix permissions it refuses
// a file that anyone but its owner can read or write. A missing file is an error that wraps fs.ErrNotExist.
func LoadIdentity(path string) (*Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("kcptransport: opening the identity file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("kcptransport: opening the identity file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("kcptransport: reading the identity file %s: it is not a regular file", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("kcptransport: reading the identity file %s: its permissions %#o let others use the key (run: chmod 600 %s)",
			path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIdentityFile+1))
	if err != nil {
		return nil, fmt.Errorf("kcptransport: reading the identity file: %w", err)
	}
	i, err := parseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("kcptransport: reading the identity file %s: %w (restore it from a backup, or remove it to become a new peer)", path, err)
	}
	return i, nil
}

// LoadOrCreateIdentity reads the identity at path, or makes one and stores it there, readable by its owner only.
// The file appears whole or not at all, and processes that race to create it all return the same identity; on a
// file system without hard links, a process that loses the race may instead fail with an error for an unfinished file.
// Missing folders are created for their owner only.
func LoadOrCreateIdentity(path string) (*Identity, error) {
	i, err := LoadIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return i, err
	}
	i, err = NewIdentity(nil)
	if err != nil {
		return nil, err
	}
	err = writeIdentity(path, i)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return LoadIdentity(path)
	}
	if err != nil {
		return nil, fmt.Errorf("kcptransport: creating the identity file: %w", err)
	}
	return i, nil
}

// writeIdentity stores i at path unless something is there already, which is fs.ErrExist.
func writeIdentity(path string, i *Identity) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".identity-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // linked by then, or useless
	if err := writeAndClose(temp, formatIdentity(i)); err != nil {
		return err
	}
	err = os.Link(temp.Name(), path) // unlike rename, it never replaces a file
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return writeAndClose(f, formatIdentity(i))
}

// writeAndClose writes b and makes sure that it is on the disk.
func writeAndClose(f *os.File, b []byte) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

const identityComment = "# xppg identity. Whoever has this file can act as this peer: keep it secret, and keep a backup.\n"

// formatIdentity returns the text of an identity file: comment lines, then the words peer and seed with their values.
func formatIdentity(i *Identity) []byte {
	seed := i.Seed()
	return fmt.Appendf(nil, "%speer %s\nseed %s\n", identityComment, i.ID(), peerIDEncoding.EncodeToString(seed[:]))
}

// parseIdentity reads what formatIdentity writes. The peer line guards against a damaged seed.
func parseIdentity(text []byte) (*Identity, error) {
	if len(text) > maxIdentityFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxIdentityFile)
	}
	values := map[string]string{}
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 || (fields[0] != "peer" && fields[0] != "seed") || values[fields[0]] != "" {
			return nil, errors.New("it is damaged: expected one line with peer and one with seed")
		}
		values[fields[0]] = fields[1]
	}
	id, err := parsePeerID(values["peer"])
	if err != nil {
		return nil, fmt.Errorf("it is damaged: its peer ID: %w", err)
	}
	var seed [32]byte
	if len(values["seed"]) != peerIDLen {
		return nil, errors.New("it is damaged: its seed has the wrong length")
	}
	if _, err := peerIDEncoding.Decode(seed[:], []byte(values["seed"])); err != nil {
		return nil, errors.New("it is damaged: its seed is not base32")
	}
	i := IdentityFromSeed(seed)
	if i.ID() != id {
		return nil, errors.New("it is damaged: its seed and its peer ID do not belong together")
	}
	return i, nil
}
