//go:build !unix

package kcptransport

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
