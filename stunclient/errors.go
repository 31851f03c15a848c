package stunclient

import (
	"fmt"
	"net/netip"
	"time"
)

// ResponseError is an error response from a server.
type ResponseError struct {
	Server    netip.AddrPort
	Code      int            // 300 to 699, see RFC 8489 section 14.8
	Reason    string         // the server's words, at most 127 characters
	Alternate netip.AddrPort // the server to try instead, with code 300; often the zero value
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("stunclient: binding with %v: the server answered %d %q (try another server)", e.Server, e.Code, e.Reason)
}

// TimeoutError tells that a server didn't answer.
type TimeoutError struct {
	Server   netip.AddrPort
	Requests int           // sent without an answer
	Waited   time.Duration // since the first of them
	Cause    error         // why the last one couldn't be sent; nil if it was
}

func (e *TimeoutError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("stunclient: binding with %v: can't send: %v", e.Server, e.Cause)
	}
	return fmt.Sprintf("stunclient: binding with %v: no answer to %d requests in %v (is the address right, and UDP allowed?)",
		e.Server, e.Requests, e.Waited.Round(time.Millisecond))
}

// Unwrap returns the cause.
func (e *TimeoutError) Unwrap() error { return e.Cause }

// Timeout is true, as [net.Error] wants it.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is true: another time the server may answer.
func (e *TimeoutError) Temporary() bool { return true }
