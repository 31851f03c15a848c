package netsim

// An event is a packet that reaches a place at a time.
type event struct {
	at     int64
	order  uint64
	packet *packet
	place  place
}

// A place takes packets in: a segment, or the interface of a host or router.
type place interface {
	arrive(at int64, p *packet)
}

// eventHeap is a binary heap by time, then by order.
type eventHeap []event

func (e event) before(o event) bool {
	return e.at < o.at || (e.at == o.at && e.order < o.order)
}

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *eventHeap) pop() event {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s[last] = event{}
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if s[c].before(s[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// due returns when the next event is, or never.
func (h eventHeap) due() int64 {
	if len(h) == 0 {
		return never
	}
	return h[0].at
}
