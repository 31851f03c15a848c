package relaymesh

import "net/netip"

// parcels is a batch that is to be sent. Packets of one direction of a circuit leave one after the other, in their order, where
// those of others came between them: the socket sends a row of packets to one address as one.
type parcels struct {
	n      int
	bufs   [forwardBatch][]byte
	addrs  [forwardBatch]netip.AddrPort
	mixed  bool   // some belong together that are not side by side
	number uint64 // of the batch: no other has it

	rows   [forwardBatch]row // of packets that belong together and are side by side
	made   int
	firsts [forwardBatch]int // the first row of each direction of a circuit
	ways   int
	last   *place // whose row is the last one

	sortedBufs  [forwardBatch][]byte
	sortedAddrs [forwardBatch]netip.AddrPort
}

// row is a part of a batch.
type row struct {
	from, to int // packets
	next     int // row of the same direction, 0 when there is none
}

// place says where in a batch the packets of one direction of a circuit are.
type place struct {
	batch uint64
	row   int // the last one
}

// add adds a packet of the circuit whose place is at.
func (o *parcels) add(at *place, p []byte, to netip.AddrPort) {
	o.bufs[o.n], o.addrs[o.n] = p, to
	if at != o.last {
		o.begin(at)
	}
	o.n++
}

// begin begins a row.
func (o *parcels) begin(at *place) {
	o.end()
	i := o.made
	o.made++
	o.rows[i] = row{from: o.n}
	if at.batch == o.number {
		o.rows[at.row].next, o.mixed = i, true
	} else {
		o.firsts[o.ways] = i
		o.ways++
	}
	*at, o.last = place{o.number, i}, at
}

// end ends the last row.
func (o *parcels) end() {
	if o.made > 0 {
		o.rows[o.made-1].to = o.n
	}
}

// write sends the batch and forgets it. What fails is lost, as any packet may be. It returns how many did, and why if that is known.
func (o *parcels) write(write func([][]byte, []netip.AddrPort) (int, error)) (lost int, err error) {
	if o.n == 0 {
		return 0, nil
	}
	var n int
	if o.mixed {
		o.end()
		o.sort()
		n, err = write(o.sortedBufs[:o.n], o.sortedAddrs[:o.n])
		clear(o.sortedBufs[:o.n])
	} else {
		n, err = write(o.bufs[:o.n], o.addrs[:o.n])
	}
	clear(o.bufs[:o.n])
	lost = o.n - n
	o.n, o.made, o.ways, o.mixed, o.last = 0, 0, 0, false, nil
	return lost, err
}

// sort puts together what belongs together.
func (o *parcels) sort() {
	n := 0
	for _, first := range o.firsts[:o.ways] {
		for i := first; ; i = o.rows[i].next {
			r := o.rows[i]
			copy(o.sortedAddrs[n:], o.addrs[r.from:r.to])
			n += copy(o.sortedBufs[n:], o.bufs[r.from:r.to])
			if r.next == 0 {
				break
			}
		}
	}
}
