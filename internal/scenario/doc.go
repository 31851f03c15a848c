// Package scenario plays whole stories of the project inside netsim: peers behind two NATs and a peer that both can
// reach. It runs in real time, for commands that show something, and in virtual time, for tests that measure.
package scenario
