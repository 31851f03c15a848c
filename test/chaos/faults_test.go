package chaos

import (
	"math/rand/v2"
	"time"
)

// A fault happens to a node, and is over when it returns.
type fault struct {
	name   string
	happen func(w *world, n *node, r *rand.Rand)
}

// upTo returns a time from a second to most.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return time.Second + time.Duration(r.Int64N(int64(most-time.Second)))
}

func pause(r *rand.Rand, most time.Duration) { <-time.After(upTo(r, most)) }

var faults = []fault{
	{"the link is down", func(_ *world, n *node, r *rand.Rand) {
		d := upTo(r, 60*time.Second)
		n.host.Unplug(d)
		<-time.After(d)
	}},
	{"the link loses in bursts", func(_ *world, n *node, r *rand.Rand) {
		bad := link
		bad.Loss, bad.Burst = 0.2, 8
		n.host.SetLink(bad, bad)
		pause(r, 60*time.Second)
		n.host.SetLink(link, link)
	}},
	{"packets come twice, late and broken", func(_ *world, n *node, r *rand.Rand) {
		bad := link
		bad.Reorder, bad.ReorderBy, bad.Duplicate, bad.Corrupt = 0.1, 50*time.Millisecond, 0.1, 0.01
		n.host.SetLink(bad, bad)
		pause(r, 60*time.Second)
		n.host.SetLink(link, link)
	}},
	{"the NAT forgets", func(_ *world, n *node, _ *rand.Rand) {
		if n.router != nil {
			n.router.Rebind()
		}
	}},
	{"the NAT reboots", func(_ *world, n *node, r *rand.Rand) {
		if n.router != nil {
			d := upTo(r, 40*time.Second)
			n.router.Reboot(d)
			<-time.After(d)
		}
	}},
	{"it moves", func(_ *world, n *node, _ *rand.Rand) {
		if n.router != nil {
			n.move()
			pg, _ := n.playground()
			pg.NetworkChanged()
		}
	}},
	{"it moves and is not told", func(_ *world, n *node, _ *rand.Rand) {
		if n.router != nil {
			n.move()
		}
	}},
	{"it sleeps", func(_ *world, n *node, r *rand.Rand) {
		n.host.Pause()
		pause(r, 50*time.Second)
		n.host.Resume()
		pg, _ := n.playground()
		pg.NetworkChanged()
	}},
	{"it crashes", func(_ *world, n *node, r *rand.Rand) { n.crash(upTo(r, 60*time.Second)) }},
	{"it is kept apart from another", func(w *world, n *node, r *rand.Rand) {
		other := w.nodes[(n.number+1+r.IntN(*nodes-1))%*nodes]
		w.net.Partition(n.host, other.host)
		pause(r, 60*time.Second)
		w.net.Heal(n.host, other.host)
	}},
	{"it is not heard by another", func(w *world, n *node, r *rand.Rand) {
		other := w.nodes[(n.number+1+r.IntN(*nodes-1))%*nodes]
		w.net.PartitionOneWay(n.host, other.host)
		pause(r, 60*time.Second)
		w.net.Heal(n.host, other.host)
	}},
}

// wreck has faults happen to one node after the other pause until the end, so that each is whole now and then.
func (w *world) wreck(n *node, r *rand.Rand, end time.Time, count func(string)) {
	for {
		pause(r, 2*time.Minute)
		if time.Now().After(end) {
			return
		}
		f := faults[r.IntN(len(faults))]
		count(f.name)
		f.happen(w, n, r)
	}
}
