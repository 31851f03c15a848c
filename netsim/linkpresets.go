package netsim

import "time"

// A LinkPair is a link whose directions differ: [Host.SetLink] and [Router.SetLink]
// take both.
type LinkPair struct{ Up, Down Link }

// LinkPresets are links by what people have at home or on the way. Their figures are
// chosen to be typical, not measured. docs/netsim.md has them as a table.
//
//   - "satellite" is a geostationary one; "leo" is one of a low orbit, which changes
//     satellites every 15 s and is gone for a moment.
//   - "lte" and "lte-weak" have the deep queues of mobile networks.
//   - "wifi" and "lossy-wifi" are the radio alone: put them in front of a router.
var LinkPresets = map[string]LinkPair{
	"lan":   both(Link{Rate: 1_000_000_000, Delay: 100 * time.Microsecond}),
	"fibre": pair(100, 500, Link{Delay: 3 * time.Millisecond, Jitter: time.Millisecond}),
	"cable": pair(20, 200, Link{Delay: 8 * time.Millisecond, Jitter: 4 * time.Millisecond, Queue: 256 << 10}),
	"dsl":   pair(10, 50, Link{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, MTU: 1492}),
	"lte": pair(10, 40, Link{
		Delay: 25 * time.Millisecond, Jitter: 15 * time.Millisecond, Queue: 1 << 20, Loss: 0.001, Burst: 3,
	}),
	"lte-weak": pair(1, 4, Link{
		Delay: 50 * time.Millisecond, Jitter: 60 * time.Millisecond, Queue: 1 << 20, Loss: 0.02, Burst: 5,
	}),
	"satellite": pair(3, 20, Link{Delay: 280 * time.Millisecond, Jitter: 20 * time.Millisecond, Queue: 512 << 10, Loss: 0.005, Burst: 4}),
	"leo": pair(15, 150, Link{
		Delay: 20 * time.Millisecond, Jitter: 15 * time.Millisecond, Loss: 0.005, Burst: 8,
		DownEvery: 15 * time.Second, DownFor: 50 * time.Millisecond,
	}),
	"wifi": both(Link{Rate: 100_000_000, Delay: time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 0.001, Burst: 2}),
	"lossy-wifi": both(Link{
		Rate: 10_000_000, Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Burst: 4,
		Reorder: 0.005, ReorderBy: 10 * time.Millisecond, Duplicate: 0.001,
	}),
}

func both(l Link) LinkPair { return LinkPair{l, l} }

// pair makes a link of its rates in Mbit/s.
func pair(up, down int64, l Link) LinkPair {
	p := both(l)
	p.Up.Rate, p.Down.Rate = up*1_000_000, down*1_000_000
	return p
}
