// Package roam holds the bars for links whose network changes under them: a NAT that forgets, a peer that moves, both
// peers moving at once, a host that sleeps. Numbered messages flow both ways; every one has to arrive once and in order.
//
//	go test ./test/roam                            a few seeds a story, in seconds
//	go test ./test/roam -seeds=1000 -timeout=2h   the bar
package roam
