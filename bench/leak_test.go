package main

import (
	"testing"

	"github.com/2xppg/xppg/internal/leaks"
)

func TestMain(m *testing.M) {
	if beRelay() { // a test started this program again
		return
	}
	leaks.VerifyTestMain(m)
}
