// Package matrix holds the bars for punching: every kind of place calls every other, with many seeds, in virtual time;
// with what is believed of the NATs right and wrong.
//
//	go test ./test/matrix               a few seeds a pair, in seconds
//	go test ./test/matrix -seeds=1000   the bar
package matrix
