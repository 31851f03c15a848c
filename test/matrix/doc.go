// Package matrix holds the bar for punching: every kind of place calls every other, with many seeds, in virtual time.
//
//	go test ./test/matrix              a few seeds a pair, in seconds
//	go test ./test/matrix -seeds=200   the bar
package matrix
