//go:build race

package kcptransport

const raceEnabled = true
