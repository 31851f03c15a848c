package relayops

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/units"
)

// Options are what the flags of a relay say, beside those that every node has.
type Options struct {
	TCP, WS      string // addresses for peers where UDP is blocked; "" is none
	URL          string // where peers find them, with commas between several; "" is our own addresses
	Metrics      string // address of the HTTP server; "" is none
	Limits       Limits
	Allow, Deny  string // files
	Config       string // file
	DrainTimeout time.Duration
}

const (
	defaultCircuits = 4096
	defaultDrain    = 10 * time.Second
)

// maxCircuitTime is what a circuit has at most, if it is limited.
const maxCircuitTime = units.Time(30 * 24 * time.Hour)

// AddFlags defines the flags and sets their defaults.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.TCP, "tcp", "", "address for peers that come by TCP because UDP is blocked, such as :443 (default: none)")
	fs.StringVar(&o.WS, "ws", "", "address for peers that come by WebSocket, such as :80 (default: none)")
	fs.StringVar(&o.URL, "url", "", "where peers find --tcp and --ws if not at our addresses, such as wss://relay.example.org/; commas between several")
	fs.StringVar(&o.Metrics, "metrics", "", "address for /metrics, /healthz and /readyz over HTTP, such as 127.0.0.1:9337 (default: none)")
	fs.Var(&o.Limits.Total, "limit-total", "most that is carried in all, such as 100Mbit or 10MB/s")
	fs.Var(&o.Limits.Peer, "limit-peer", "most that is carried for one peer")
	fs.Var(&o.Limits.Circuit, "limit-circuit", "most that is carried on one circuit")
	fs.Var(&o.Limits.CircuitBytes, "circuit-bytes", "bytes after which a circuit ends, such as 10GB; its peers set up another one before")
	fs.Var(&o.Limits.CircuitTime, "circuit-time", "time after which a circuit ends, such as 2h; its peers set up another one before")
	fs.IntVar(&o.Limits.Circuits, "circuits", defaultCircuits, "most circuits at once")
	fs.StringVar(&o.Allow, "allow", "", "file with the only peers that are served: a peer ID, address or prefix on each line")
	fs.StringVar(&o.Deny, "deny", "", "file with peers that are not served")
	fs.StringVar(&o.Config, "config", "", `file with flags, "name value" on each line; the command line wins`)
	fs.DurationVar(&o.DrainTimeout, "drain-timeout", defaultDrain, "how long peers have for moving to other relays at the end")
}

// Check returns what is wrong with the options.
func (o *Options) Check() error {
	if o.Limits.Circuits < 1 || o.Limits.Circuits > 1<<20 {
		return errors.New("--circuits: a number from 1 to 1048576 is wanted")
	}
	if o.DrainTimeout < 0 || o.DrainTimeout > time.Hour {
		return errors.New("--drain-timeout: 0 to 1h is wanted")
	}
	if o.Limits.Total > 0 && o.Limits.Peer > o.Limits.Total {
		return fmt.Errorf("--limit-peer %s is more than --limit-total %s: one peer cannot have more than all", &o.Limits.Peer, &o.Limits.Total)
	}
	if err := o.checkCircuit(); err != nil {
		return err
	}
	if o.URL != "" && o.TCP == "" && o.WS == "" {
		return errors.New("--url tells where --tcp and --ws are found: one of them is wanted, too")
	}
	return o.checkAddrs()
}

// checkCircuit returns what is wrong with the limits of a circuit.
func (o *Options) checkCircuit() error {
	l := &o.Limits
	switch {
	case l.Total > 0 && l.Circuit > l.Total:
		return fmt.Errorf("--limit-circuit %s is more than --limit-total %s: one circuit cannot have more than all", &l.Circuit, &l.Total)
	case l.Peer > 0 && l.Circuit > l.Peer:
		return fmt.Errorf("--limit-circuit %s is more than --limit-peer %s: one circuit cannot have more than its peer", &l.Circuit, &l.Peer)
	case l.CircuitBytes > 0 && l.CircuitBytes < api.MinBytesPerCircuit:
		return fmt.Errorf("--circuit-bytes %s: 64KiB to 1TiB is wanted, or none", &l.CircuitBytes)
	case l.CircuitTime != 0 && (l.CircuitTime < units.Time(api.MinTimePerCircuit) || l.CircuitTime > maxCircuitTime):
		return fmt.Errorf("--circuit-time %s: 10s to 720h is wanted, or none", &l.CircuitTime)
	}
	return nil
}

// checkAddrs returns what is wrong with where to listen.
func (o *Options) checkAddrs() error {
	used := map[string]string{}
	for _, a := range []struct{ flag, addr string }{{"tcp", o.TCP}, {"ws", o.WS}, {"metrics", o.Metrics}} {
		if a.addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(a.addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("--%s %q: an address as 127.0.0.1:9337 or :443 is wanted", a.flag, a.addr)
		}
		if other, ok := used[a.addr]; ok && port != "0" {
			return fmt.Errorf("--%s and --%s cannot both have %s", other, a.flag, a.addr)
		}
		used[a.addr] = a.flag
	}
	return nil
}

// URLs returns where peers find the listeners.
func (o *Options) URLs() []string {
	if o.URL == "" {
		return nil
	}
	return strings.Split(o.URL, ",")
}

// Given returns the names of the flags that the command line set. Call it before [Apply].
func Given(fs *pflag.FlagSet) map[string]bool {
	given := map[string]bool{}
	fs.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	return given
}

// Reload returns limits and lists as the configuration file, under the flags that were given on the command line, and the
// files of the lists say now. fs has all flags of the command; nothing in it is changed.
func Reload(fs *pflag.FlagSet, given map[string]bool) (Limits, Lists, error) {
	var o Options
	fresh := pflag.NewFlagSet("reload", pflag.ContinueOnError)
	o.AddFlags(fresh)
	for name := range given {
		if fresh.Lookup(name) == nil {
			continue
		}
		if err := fresh.Set(name, fs.Lookup(name).Value.String()); err != nil {
			return Limits{}, Lists{}, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if o.Config != "" {
		settings, err := ReadSettings(o.Config)
		if err == nil {
			fs.VisitAll(func(f *pflag.Flag) { // the others count at the next start, and must make sense now
				if fresh.Lookup(f.Name) == nil {
					fresh.AddFlag(&pflag.Flag{Name: f.Name, Value: ignore(f.Value), NoOptDefVal: f.NoOptDefVal})
				}
			})
			err = Apply(fresh, settings, func(name string) bool { return given[name] })
		}
		if err != nil {
			return Limits{}, Lists{}, err
		}
	}
	if err := o.Check(); err != nil {
		return Limits{}, Lists{}, err
	}
	lists, err := ReadLists(o.Allow, o.Deny)
	if err != nil {
		return Limits{}, Lists{}, err
	}
	return o.Limits, lists, nil
}

// ignored is the value of a flag that is known but not set.
type ignored struct{ pflag.Value }

func (ignored) Set(string) error { return nil }

// ignoredList is that of a flag that may come several times.
type ignoredList struct {
	ignored
	pflag.SliceValue
}

func ignore(v pflag.Value) pflag.Value {
	if list, ok := v.(pflag.SliceValue); ok {
		return ignoredList{ignored{v}, list}
	}
	return ignored{v}
}
