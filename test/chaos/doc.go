// Package chaos has many nodes talk while their network breaks in every way that netsim knows: links go down or lose
// in bursts, NATs reboot, nodes move, sleep, crash and come back. Every message must arrive at most once and in order,
// and exactly once when its sender was told so; in the end everybody reaches everybody who can be reached.
//
//	go test ./test/chaos                         a few nodes and minutes, in seconds
//	go test ./test/chaos -nodes=20 -minutes=60   the bar
package chaos
