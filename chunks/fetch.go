package chunks

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// FetchConfig says what to fetch, where to, and from whom. Root, Dir, Opener and Sources are required.
type FetchConfig struct {
	Root   Root
	Dir    string // folder in which the content appears under its own names; it is made if it is not there
	Opener Opener
	// Sources returns the peers worth asking, best first; it is called every SourcesEvery (default 1 s) and when
	// something comes from Changed. Peers may come and go. It must not block.
	Sources      func() []kcptransport.PeerID
	SourcesEvery time.Duration
	Changed      <-chan struct{} // optional

	Manifest  *Manifest // when it is known already; must have Root
	Overwrite bool      // replace what is in the way instead of ErrExists; files that are right stay as they are
	MaxBytes  int64     // refuse larger content; 0: no limit
	// Accept is asked once, before anything is written; an error from it ends Fetch. Optional.
	Accept func(*Manifest) error
	// Server, when set, serves the content from the first chunk on, and after success from where it is then.
	Server *Server

	MaxPeers int // sources used at once, default 16
	// Window is how many bytes may be asked of one source and not here yet: it grows and shrinks with the source's speed
	// up to this, default 8 MiB.
	Window       int
	StallTimeout time.Duration // a source that is asked and sends nothing for so long is replaced, default 20 s
	// GiveUpAfter ends Fetch with ErrNoSource when nothing useful came for so long; default 60 s, negative: never.
	GiveUpAfter time.Duration

	// Progress is called serially, at most once every ProgressEvery (default 200 ms) and at the end. It must not block.
	Progress      func(Progress)
	ProgressEvery time.Duration
	// OnBad is called serially for each source that sent bad data. It is not asked again by this Fetch. Optional.
	OnBad func(peer kcptransport.PeerID, err error)
	// Rand seeds the order in which rare chunks are looked for; nil: crypto/rand.
	Rand io.Reader
}

// Stage is what a Fetch is doing.
type Stage string

// The stages of a Fetch, in order.
const (
	StageManifest  Stage = "manifest"  // looking for a source of the manifest
	StageVerifying Stage = "verifying" // hashing what is there already
	StageFetching  Stage = "fetching"
	StageFinishing Stage = "finishing" // waiting for the disk, renaming
)

// Progress is how far a Fetch is.
type Progress struct {
	Stage       Stage
	Have, Total int64   // bytes of the content; Total is 0 until the manifest is here
	Chunks      int     // chunks that are here
	ChunksTotal int     //
	Rate        float64 // bytes per second over the last seconds
	Peers       int     // sources with a stream
}

// Result is what a Fetch did.
type Result struct {
	Content  *Content // whole; a Server can serve it
	Paths    []string // what appeared in Dir, or was there already
	Bytes    int64    // of the content
	Fetched  int64    // bytes of chunks that came now
	Reused   int64    // bytes that an earlier attempt, or an identical target, had
	Twice    int64    // bytes of chunks that came more than once at the end
	From     map[kcptransport.PeerID]int64
	Bad      []kcptransport.PeerID // sources that sent bad data
	Duration time.Duration
}

// Errors of Fetch; they are wrapped. ErrExists, ErrBusy, ErrName and ErrManifest are others.
var (
	ErrNoSource = errors.New("no source")
	ErrTooLarge = errors.New("larger than allowed")
)

func (cfg FetchConfig) withDefaults() FetchConfig {
	setDefault(&cfg.SourcesEvery, time.Second)
	setDefault(&cfg.MaxPeers, 16)
	setDefault(&cfg.Window, 8<<20)
	setDefault(&cfg.StallTimeout, 20*time.Second)
	setDefault(&cfg.ProgressEvery, 200*time.Millisecond)
	if cfg.GiveUpAfter == 0 {
		cfg.GiveUpAfter = time.Minute
	}
	if cfg.Rand == nil {
		cfg.Rand = crand.Reader
	}
	return cfg
}

// Fetch fetches what cfg.Root names from several sources at once. Only verified chunks are stored, in a hidden folder
// ".NAME.xppg-part-ROOT8" in Dir; the final names appear when everything is there. When Fetch fails or the process
// dies, the folder stays and the next Fetch continues from it. What is in Dir already and right is not fetched.
// The Result is never nil; with an error it tells what was done until then.
func Fetch(ctx context.Context, cfg FetchConfig) (*Result, error) {
	cfg = cfg.withDefaults()
	f := newFetcher(cfg, time.Now())
	err := f.run(ctx)
	f.result.Duration = time.Since(f.started)
	if err != nil {
		return f.result, fmt.Errorf("chunks: fetching %s: %w", cfg.Root.Short(), explain(err))
	}
	return f.result, nil
}

func (f *fetcher) run(ctx context.Context) error {
	if f.cfg.Opener == nil || f.cfg.Sources == nil || f.cfg.Root.IsZero() || f.cfg.Dir == "" {
		return errors.New("FetchConfig lacks Root, Dir, Opener or Sources")
	}
	if err := f.rng(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.cfg.Dir, 0o777); err != nil {
		return err
	}
	dir, err := os.OpenRoot(f.cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	f.dir = dir
	if err := f.recallManifest(ctx); err != nil {
		return err
	}
	defer f.abandon()
	if err := f.loop(ctx); err != nil {
		return err
	}
	return f.finish(ctx)
}

// recallManifest starts with a manifest that is known already, if there is one.
func (f *fetcher) recallManifest(ctx context.Context) error {
	encoded := findManifest(f.dir, f.cfg.Root)
	if f.cfg.Manifest != nil {
		var err error
		if encoded, err = f.cfg.Manifest.Encode(); err != nil {
			return err
		}
		if rootOf(encoded) != f.cfg.Root {
			return errors.New("FetchConfig.Manifest has another root")
		}
	}
	if encoded == nil {
		return nil
	}
	return f.begin(ctx, encoded)
}

// finish gives the content its final place.
func (f *fetcher) finish(ctx context.Context) error {
	j := f.job
	f.report(time.Now(), StageFinishing, true)
	if err := j.part.commit(ctx, f.cfg.Overwrite); err != nil {
		return err
	}
	folder, files := f.cfg.Dir, j.content.manifest.Files
	if abs, err := filepath.Abs(folder); err == nil {
		folder = abs
	}
	j.content.moved(func(file int) (*os.File, error) { return os.OpenInRoot(folder, files[file].Path) })
	for _, name := range j.content.manifest.Names() {
		f.result.Paths = append(f.result.Paths, filepath.Join(folder, name))
	}
	f.result.Content = j.content
	j.finished = true
	j.part.discard() //nolint:errcheck // everything is in its place; a rest harms nobody
	f.report(time.Now(), StageFinishing, true)
	return nil
}

// explain adds to errors of the file system what to do about them.
func explain(err error) error {
	switch {
	case diskFull(err):
		return fmt.Errorf("the disk is full: %w (make room and run again: it continues where it stopped)", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("not allowed to write there: %w (choose another folder)", err)
	}
	return err
}
