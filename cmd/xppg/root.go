package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/filelock"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/stunclient"
)

const (
	defaultListen = ":7337"
	envPassphrase = "XPPG_PASSPHRASE"
)

// app is one run of the program: the common flags, and where to write.
type app struct {
	io      stdio
	print   printer
	started bool // the arguments made sense: from here on errors are failures

	appName    string
	listen     string
	identity   string
	passphrase string
	join       []string
	stun       []string
	mapping    string // what becomes of port mapping: auto or off
	json       bool
	verbose    bool

	listenSet, identitySet bool
	unlock                 func()
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "xppg",
		Short: "Connect peers behind NATs: talk, move files, share state",
		Long: `xppg connects two equal peers, one playground, without a server in the middle.

Peers find their public addresses by STUN, meet through any peer both can
reach, punch holes through their NATs and talk over encrypted links.

A TARGET is a host:port, a ticket, the ID of a peer that those of --join know,
or the URL of a peer that takes connections (tcp, ws, wss).`,
		Example: `  xppg demo                                see it work, in a simulated network
  xppg node                                run a node others can join
  xppg chat lobby --join host:7337         talk
  xppg share report.pdf                    send a file: prints a ticket
  xppg get TICKET                          fetch it
  xppg ping TICKET --until direct          how good is the path?`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q (xppg --help lists them)", args[0])
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetVersionTemplate("xppg {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&a.appName, "app", "xppg", "name of the application; peers of others are refused")
	f.StringVar(&a.listen, "listen", defaultListen, "UDP address to listen on; another port is taken when the default one is in use")
	f.StringVar(&a.identity, "identity", "", "file with this node's key, made when missing (default: xppg/identity in the user's config folder)")
	f.StringArrayVar(&a.join, "join", nil, "peer to join: host:port, ticket, peer ID or URL (repeatable)")
	f.StringArrayVar(&a.stun, "stun", nil, `STUN server as host:port (repeatable); "none" asks no server`)
	f.StringVar(&a.mapping, "port-mapping", "auto", "ask the routers here for a port that leads to this node (PCP, NAT-PMP, UPnP): auto or off")
	f.StringVar(&a.passphrase, "passphrase", "", "only peers that know it are let in (or set "+envPassphrase+", which other users cannot see)")
	f.BoolVar(&a.json, "json", false, "write one JSON object a line")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more on standard error")
	root.AddCommand(
		a.idCommand(), a.nodeCommand(), a.chatCommand(), a.pingCommand(), a.explainCommand(),
		a.netcheckCommand(), a.benchCommand(), a.shareCommand(), a.getCommand(), a.stateCommand(),
		a.relayCommand(), a.relaysCommand(), a.netsimCommand(), a.demoCommand(),
	)
	root.SetFlagErrorFunc(flagError)
	strictHelp(root)
	return root
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// prepare checks the common flags before any command runs.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	a.print.io, a.print.json = a.io, a.json
	a.listenSet = cmd.Flags().Changed("listen")
	a.identitySet = cmd.Flags().Changed("identity")
	if err := checkGiven(cmd.Flags()); err != nil {
		return err
	}
	if a.passphrase == "" {
		a.passphrase = os.Getenv(envPassphrase)
	}
	if a.mapping != "auto" && a.mapping != "off" {
		return fmt.Errorf("--port-mapping %q: auto or off is wanted", a.mapping)
	}
	if err := checkListen(a.listen); err != nil {
		return err
	}
	for _, t := range a.join {
		if err := api.CheckTarget(t); err != nil {
			return fmt.Errorf("--join: %s", strings.TrimPrefix(err.Error(), "api: "))
		}
	}
	for _, s := range a.stun {
		switch {
		case s == "none" && len(a.stun) > 1:
			return errors.New("--stun none goes with no other --stun")
		case s != "none":
			if err := stunclient.CheckServer(s); err != nil {
				return fmt.Errorf("--stun: %w", err)
			}
		}
	}
	return nil
}

// checkListen finds what cannot be an address before anything is started.
func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err == nil && host != "" && strings.Trim(host, "0123456789.:") == "" { // no name: not to be looked up
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		return fmt.Errorf("--listen %q: an address as host:port or :port is wanted", addr)
	}
	return nil
}

// report says what went wrong, in one line.
func (a *app) report(err error) {
	a.print.io, a.print.json = a.io, a.json
	if errors.Is(err, context.Canceled) {
		return
	}
	a.print.error(fmt.Errorf("%s", strings.TrimPrefix(oneLine(err), "api: ")))
}

// config turns the flags into a playground's configuration, but for the identity.
func (a *app) config() api.Config {
	cfg := api.Config{App: a.appName, Listen: a.listen, Passphrase: a.passphrase, Join: a.join, STUN: a.stun, NoPortMapping: a.mapping == "off"}
	if len(a.stun) == 1 && a.stun[0] == "none" {
		cfg.STUN = []string{}
	}
	return cfg
}

// start opens a playground. The caller closes it with a.stop.
func (a *app) start(ctx context.Context, change func(*api.Config)) (*api.Playground, error) {
	cfg := a.config()
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	id, err := a.loadIdentity() // after the check: nonsense makes no key
	if err != nil {
		return nil, err
	}
	cfg.Identity = id
	a.started = true
	pg, err := api.Start(ctx, cfg)
	if err != nil && !a.listenSet && errors.Is(err, errAddrInUse) {
		cfg.Listen = ":0"
		pg, err = api.Start(ctx, cfg)
	}
	return pg, err
}

func (a *app) stop(pg *api.Playground) {
	if err := pg.Close(); err != nil && a.verbose {
		a.print.note("xppg: close: %v", err)
	}
	if a.unlock != nil {
		a.unlock()
	}
}

// loadIdentity reads the key, making it on the first run. When another xppg
// runs under the default key, a temporary one keeps the two apart.
func (a *app) loadIdentity() (*kcptransport.Identity, error) {
	path := a.identity
	if !a.identitySet {
		dir, err := os.UserConfigDir()
		if err != nil {
			return kcptransport.NewIdentity(nil) // no home: nothing to remember
		}
		path = filepath.Join(dir, "xppg", "identity")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("make the folder for the identity: %w (name a file with --identity)", err)
		}
	}
	id, err := kcptransport.LoadOrCreateIdentity(path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && !a.identitySet {
			return nil, fmt.Errorf("%w (name another file with --identity)", err)
		}
		return nil, err
	}
	unlock, err := filelock.TryLock(path + ".lock")
	switch {
	case err == nil:
		a.unlock = unlock
		return id, nil
	case !errors.Is(err, filelock.ErrLocked):
		return id, nil // a folder we cannot write to: nobody else runs there
	case a.identitySet:
		return nil, fmt.Errorf("identity %s is in use by another xppg (give this one a file of its own)", path)
	}
	if a.verbose {
		a.print.note("xppg: another xppg uses the default identity; this one takes a temporary one")
	}
	return kcptransport.NewIdentity(nil)
}
