// Command ledger keeps a common purse without a bank: everybody writes what
// they paid for whom, and every copy of the book says the same.
//
//	go run ./examples/ledger alice               prints a ticket
//	go run ./examples/ledger bob TICKET
//
// Then type: pay NAME AMOUNT WHAT FOR, balance, or list.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/state"
)

// A payment is one line of the book. Its key is made of the time and the
// author's ID, so that no two writers ever write the same key: there is nothing
// to merge, and nothing is lost.
type payment struct {
	From, To string
	Cents    int64
	What     string
}

// ledger is the book and who writes in it.
type ledger struct {
	pg   *api.Playground
	book *state.Map
	name string
	now  func() time.Time
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: ledger NAME [HOST:PORT, TICKET or PEER ID]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := api.Config{App: "ledger-example", Join: os.Args[2:]}
	if err := run(ctx, os.Args[1], cfg, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string, cfg api.Config, in io.Reader, out io.Writer) error {
	l, err := open(ctx, name, cfg)
	if err != nil {
		return err
	}
	defer l.pg.Close()
	fmt.Fprintln(out, "others join with:", l.pg.Ticket())
	lines := bufio.NewScanner(in)
	for lines.Scan() && ctx.Err() == nil {
		if err := l.do(lines.Text(), out); err != nil {
			fmt.Fprintln(out, "sorry:", err)
		}
	}
	return lines.Err()
}

func open(ctx context.Context, name string, cfg api.Config) (*ledger, error) {
	pg, err := api.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	book, err := pg.State("ledger")
	if err != nil {
		pg.Close()
		return nil, err
	}
	return &ledger{pg: pg, book: book, name: name, now: time.Now}, nil
}

// do carries out one typed line.
func (l *ledger) do(line string, out io.Writer) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "pay":
		if len(words) < 3 {
			return fmt.Errorf("pay NAME AMOUNT WHAT FOR")
		}
		return l.pay(words[1], words[2], strings.Join(words[3:], " "))
	case "balance":
		balance := l.balance()
		for _, who := range slices.Sorted(maps.Keys(balance)) {
			fmt.Fprintf(out, "%-12s %8.2f\n", who, float64(balance[who])/100)
		}
	case "list":
		for p := range l.payments() {
			fmt.Fprintf(out, "%s -> %s %.2f %s\n", p.From, p.To, float64(p.Cents)/100, p.What)
		}
	default:
		return fmt.Errorf("%q is none of: pay, balance, list", words[0])
	}
	return nil
}

func (l *ledger) pay(to, amount, what string) error {
	f, err := strconv.ParseFloat(amount, 64)
	if err != nil || f <= 0 || f > 1e9 {
		return fmt.Errorf("%q is no amount", amount)
	}
	key := fmt.Sprintf("%020d/%s", l.now().UnixNano(), l.pg.ID())
	return l.book.Set(key, payment{From: l.name, To: to, Cents: int64(f*100 + 0.5), What: what})
}

// payments goes through the book in order of time.
func (l *ledger) payments() func(yield func(payment) bool) {
	return func(yield func(payment) bool) {
		for _, key := range l.book.Keys("") {
			var p payment
			if ok, err := l.book.Get(key, &p); ok && err == nil && !yield(p) {
				return
			}
		}
	}
}

// balance is what everybody is owed, in cents.
func (l *ledger) balance() map[string]int64 {
	out := map[string]int64{}
	for p := range l.payments() {
		out[p.From] += p.Cents
		out[p.To] -= p.Cents
	}
	return out
}
