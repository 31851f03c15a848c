//go:build !race

package kcptransport

const raceEnabled = false
