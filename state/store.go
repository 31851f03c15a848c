package state

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A Store keeps a map across restarts. Its methods are called one at a time.
type Store interface {
	// Load calls f for every key with what was saved for it last.
	Load(f func(key string, data []byte) error) error
	// Save stores all of changes or nothing; nil data removes a key. When it
	// returns, the changes survive a crash.
	Save(changes map[string][]byte) error
	Close() error
}

var bucketName = []byte("entries")

// fileStore is a Store in one bbolt file.
type fileStore struct {
	db   *bbolt.DB
	path string
}

// OpenFile opens a file to keep one map in, making it when it is missing. Only
// one process can have it open.
func OpenFile(path string) (Store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("state: %s is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("state: open %s: %w%s", path, err, advice(err))
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("state: open %s: %w", path, err)
	}
	return &fileStore{db, path}, nil
}

// advice is what to do about a file that is no database.
func advice(err error) string {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOSPC) {
		return ""
	}
	return " (if it is damaged, restore it from a backup, or remove it: what other peers have comes back)"
}

func (s *fileStore) Load(f func(key string, data []byte) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketName).ForEach(func(k, v []byte) error { return f(string(k), v) })
	})
}

func (s *fileStore) Save(changes map[string][]byte) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName)
		for k, v := range changes {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("state: save to %s: %w", s.path, err)
	}
	return nil
}

func (s *fileStore) Close() error { return s.db.Close() }

// memory is the Store of maps that are kept nowhere.
type memory struct{}

func (memory) Load(func(string, []byte) error) error { return nil }
func (memory) Save(map[string][]byte) error          { return nil }
func (memory) Close() error                          { return nil }
