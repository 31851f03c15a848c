package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/state"
)

// defaultMap is the map that nodes keep and that the state commands mean.
const defaultMap = "default"

type stateOptions struct {
	mapName string
	timeout time.Duration
}

type entryEvent struct {
	Event   string `json:"event"` // "entry", "change" or "deleted"
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Version string `json:"version,omitempty"`
	Author  string `json:"author,omitempty"`
}

func (a *app) stateCommand() *cobra.Command {
	var o stateOptions
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Read and change the state that a running room shares",
		Long: `Read and change the state that a running room shares: a map of keys to
values that every node of the room keeps a copy of. Name a node of the room with
--join. A value is JSON, or else taken as text.`,
		Example: `  xppg node                                      keeps the room's state
  xppg state set colour blue --join host:7337
  xppg state get colour --join host:7337
  xppg state watch --join host:7337`,
	}
	oneOf(cmd, "set, get, delete, list, watch")
	f := cmd.PersistentFlags()
	f.StringVar(&o.mapName, "map", defaultMap, "name of the map")
	f.DurationVar(&o.timeout, "timeout", lookTimeout, "how long to wait for the room")
	sub := func(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, pg *api.Playground, m *state.Map, args []string) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(use, " KEY") { // which "list" and "watch" do not take
				if err := state.CheckKey(args[0]); err != nil {
					return err
				}
			}
			return a.withState(cmd.Context(), o, func(ctx context.Context, pg *api.Playground, m *state.Map) error { return do(ctx, pg, m, args) })
		}})
	}
	sub("set KEY VALUE", "Set a key", exactArgs(2, "a key and a value"), func(ctx context.Context, pg *api.Playground, m *state.Map, args []string) error {
		if err := m.Set(args[0], parseValue(args[1])); err != nil {
			return err
		}
		return a.pushState(ctx, pg, o)
	})
	sub("get KEY", "Print the value of a key", exactArgs(1, "a key"), func(_ context.Context, _ *api.Playground, m *state.Map, args []string) error {
		var v any
		ok, err := m.Get(args[0], &v)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("the room has no key %q", args[0])
		}
		a.printEntry("entry", m, args[0], v)
		return nil
	})
	sub("delete KEY", "Delete a key", exactArgs(1, "a key"), func(ctx context.Context, pg *api.Playground, m *state.Map, args []string) error {
		if _, ok := m.Raw(args[0]); !ok {
			return fmt.Errorf("the room has no key %q", args[0])
		}
		if err := m.Delete(args[0]); err != nil {
			return err
		}
		return a.pushState(ctx, pg, o)
	})
	sub("list [PREFIX]", "Print all keys and values", atMostOne("a beginning of keys"), func(_ context.Context, _ *api.Playground, m *state.Map, args []string) error {
		for _, key := range m.Keys(first(args)) {
			var v any
			if ok, err := m.Get(key, &v); err == nil && ok {
				a.printEntry("entry", m, key, v)
			}
		}
		return nil
	})
	cmd.AddCommand(&cobra.Command{Use: "watch [PREFIX]", Short: "Print changes until interrupted", Args: atMostOne("a beginning of keys"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withState(cmd.Context(), o, func(_ context.Context, _ *api.Playground, m *state.Map) error {
				return a.watchState(cmd.Context(), m, first(args))
			})
		}})
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// withState joins the room, brings our copy of its map up to date and runs do.
func (a *app) withState(ctx context.Context, o stateOptions, do func(context.Context, *api.Playground, *state.Map) error) error {
	if len(a.join) == 0 {
		return errors.New("xppg state needs a node of the room: --join host:port, ticket or peer ID")
	}
	if err := checkSpan("timeout", o.timeout, longestWait); err != nil {
		return err
	}
	if err := state.CheckName(o.mapName); err != nil {
		return fmt.Errorf("--map: %w", err)
	}
	pg, err := a.start(ctx, func(c *api.Config) {
		c.Join, c.MaxPeers = nil, -1
		if a.verbose {
			c.OnEvent = a.verboseEvent
		}
	})
	if err != nil {
		return err
	}
	defer a.stop(pg)
	m, err := pg.State(o.mapName)
	if err != nil {
		return err
	}
	tctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for _, t := range a.join {
		if _, err := pg.Join(tctx, t); err != nil {
			return fmt.Errorf("--join %s: %w", t, err)
		}
	}
	if err := pg.RequestState(tctx, o.mapName); err != nil {
		return err
	}
	return do(tctx, pg, m)
}

func (a *app) pushState(ctx context.Context, pg *api.Playground, o stateOptions) error {
	return pg.PushState(ctx, o.mapName)
}

func (a *app) watchState(ctx context.Context, m *state.Map, prefix string) error {
	for c := range m.Watch(ctx, prefix) {
		var v any
		ok, err := m.Get(c.Key, &v)
		switch {
		case err != nil:
			a.print.error(err)
		case ok:
			a.printEntry("change", m, c.Key, v)
		default:
			a.print.emit(entryEvent{Event: "deleted", Key: c.Key}, "%s deleted", printable(c.Key))
		}
	}
	return nil
}

func (a *app) printEntry(event string, m *state.Map, key string, v any) {
	v = jsonable(v)
	ev := entryEvent{Event: event, Key: key, Value: v}
	if ver, ok := m.Version(key); ok {
		ev.Version, ev.Author = ver.String(), ver.Author.String()
	}
	b, _ := json.Marshal(v) // jsonable made sure that it can be
	a.print.emit(ev, "%s = %s", printable(key), printable(string(b)))
}

// parseValue reads JSON; what is no JSON is text.
func parseValue(s string) any {
	var v any
	if json.Unmarshal([]byte(s), &v) == nil {
		return v
	}
	return s
}
