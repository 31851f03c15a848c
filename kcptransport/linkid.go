package kcptransport

import "encoding/binary"

// linkID tells the links of an endpoint to one peer apart. In a Hello it is 8 bytes.
//
// It lets a peer see whether a new session belongs to the link it has, because both dialled at once, or to a new link,
// because the other side was restarted or gave the old one up.
type linkID struct {
	boot   uint32 // random, one for each endpoint
	number uint32 // counts its links; 0 where the peer was not known yet: in XX2
}

func parseLinkID(b [8]byte) linkID {
	return linkID{binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])}
}

func (id linkID) bytes() (b [8]byte) {
	binary.BigEndian.PutUint32(b[:], id.boot)
	binary.BigEndian.PutUint32(b[4:], id.number)
	return b
}

// known reports whether the ID names one link.
func (id linkID) known() bool { return id.number != 0 }
