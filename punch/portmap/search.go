package portmap

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	findWithin = 4 * time.Second        // 250 ms, 500 ms, 1 s, 2 s: four requests
	better     = 250 * time.Millisecond // after the first answer, for a better protocol's
)

// choice is a way that could be gone.
type choice struct {
	gw       Gateway
	protocol Protocol
	way      way
}

type found struct {
	choice
	err error
}

// search asks all ways at once whether they are there and yields those that are: the first to answer, or the best one
// within 250 ms of it, then what remains. It stops when yield says no, and waits for all that it began. rank is lower for
// the better of two. What it learnt is returned; attempts that were cut short are not in it.
func search(ctx context.Context, all []choice, rank func(choice) int, yield func(choice) (more bool)) (attempts []Attempt) {
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	results := make(chan found, len(all))
	for _, c := range all {
		go func() { results <- found{c, c.way.find(ctx)} }()
	}
	missing := len(all)
	defer func() {
		cancel()
		for ; missing > 0; missing-- {
			attempts = appendAttempt(attempts, <-results)
		}
	}()
	var there []choice
	var grace <-chan time.Time
	for {
		if len(there) > 0 && grace == nil {
			grace = time.After(better)
		}
		if missing > 0 {
			select {
			case r := <-results:
				missing--
				attempts = appendAttempt(attempts, r)
				if r.err == nil {
					there = append(there, r.choice)
				}
				if len(there) == 0 || !canStop(there, all, missing, rank) {
					continue
				}
			case <-grace:
			}
		}
		if len(there) == 0 {
			return attempts
		}
		i := bestOf(there, rank)
		c := there[i]
		there, grace = slices.Delete(there, i, i+1), nil
		if !yield(c) {
			return attempts
		}
	}
}

// canStop reports whether nothing better than what is there can come.
func canStop(there, all []choice, missing int, rank func(choice) int) bool {
	return missing == 0 || rank(there[bestOf(there, rank)]) == rank(all[bestOf(all, rank)])
}

func bestOf(of []choice, rank func(choice) int) int {
	best := 0
	for i, c := range of {
		if rank(c) < rank(of[best]) {
			best = i
		}
	}
	return best
}

func appendAttempt(to []Attempt, r found) []Attempt {
	if errors.Is(r.err, context.Canceled) {
		return to
	}
	a := Attempt{Gateway: r.gw.Addr, Protocol: r.protocol, Err: r.err}
	if errors.Is(r.err, errSilent) {
		a.Err = ErrNotFound
	}
	return append(to, a)
}
