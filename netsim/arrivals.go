package netsim

// A place takes packets in: a segment, or the interface of a host or router.
type place interface {
	arrive(at int64, p *packet)
}

// arrivals are the packets under way, by time of arrival; those of one instant
// are in the order in which they were added. As packets do not overtake each
// other in a pipe, only the first one of each pipe is in the heap, so that it
// is as large as the network and not as the traffic. Late ones, which others
// overtake, are in the heap themselves.
type arrivals struct {
	heap    []arrival
	packets int    // of all pipes
	order   uint64 // counts what was added
}

// An arrival is that of the first packet of a pipe, or of a late one.
type arrival struct {
	at    int64
	order uint64
	pipe  *pipe
	late  *packet
}

func (a arrival) before(o arrival) bool {
	return a.at < o.at || (a.at == o.at && a.order < o.order)
}

// due returns when the next packet arrives, or never.
func (a *arrivals) due() int64 {
	if len(a.heap) == 0 {
		return never
	}
	return a.heap[0].at
}

// add puts a packet behind all others of a pipe, not to arrive before them.
func (a *arrivals) add(at int64, p *packet, l *pipe) {
	a.order++
	a.packets++
	p.arrives, p.order = at, a.order
	if l.line.empty() {
		a.push(arrival{at, a.order, l, nil})
	}
	l.line.push(p)
}

// addLate puts a packet beside the others of a pipe.
func (a *arrivals) addLate(at int64, p *packet, l *pipe) {
	a.order++
	a.packets++
	a.push(arrival{at, a.order, l, p})
}

func (a *arrivals) push(x arrival) {
	a.heap = append(a.heap, x)
	a.up(len(a.heap) - 1)
}

// next removes the packet that arrives next, and returns the pipe it was in.
// There must be one.
func (a *arrivals) next() (*packet, *pipe) {
	l, p := a.heap[0].pipe, a.heap[0].late
	var behind *packet
	if p == nil {
		p = l.line.pop()
		behind = l.line.first
	}
	a.packets--
	if behind != nil {
		a.heap[0] = arrival{behind.arrives, behind.order, l, nil}
	} else {
		last := len(a.heap) - 1
		a.heap[0], a.heap[last] = a.heap[last], arrival{}
		a.heap = a.heap[:last]
	}
	a.down(0)
	return p, l
}

func (a *arrivals) up(i int) {
	for h := a.heap; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (a *arrivals) down(i int) {
	for h := a.heap; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
