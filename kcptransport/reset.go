package kcptransport

import "fmt"

// Codes of a [ResetError] that the transport itself gives. Applications use codes below ResetReserved.
const (
	ResetReserved  uint32 = 0xffffff00 // the first code that is reserved for the transport
	ResetRefused   uint32 = 0xffffff01 // too many streams are open, or wait to be accepted
	ResetProtocol  uint32 = 0xffffff02 // the other side broke the rules of the stream
	ResetForgotten uint32 = 0xffffff03 // the other side knows nothing of the stream any more
	ResetAbandoned uint32 = 0xffffff04 // the stream was closed and its last data did not arrive for a minute
)

// ResetError is what Read and Write of a stream return that was reset, or, for Write, whose other side was closed
// and reads no more (code 0).
type ResetError struct {
	Code   uint32 // given to Reset; its meaning is the application's, except for the codes of this package
	Remote bool   // the peer reset the stream, not this side
}

func (e *ResetError) Error() string {
	who := "this side"
	if e.Remote {
		who = "the peer"
	}
	why := fmt.Sprintf("code %d", e.Code)
	switch e.Code {
	case ResetRefused:
		why = "too many streams"
	case ResetProtocol:
		why = "protocol violation"
	case ResetForgotten:
		why = "unknown stream"
	case ResetAbandoned:
		why = "last data not delivered"
	}
	return fmt.Sprintf("kcptransport: stream reset by %s (%s)", who, why)
}
