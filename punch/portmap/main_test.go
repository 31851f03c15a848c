package portmap

import (
	"testing"

	"github.com/2xppg/xppg/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }
