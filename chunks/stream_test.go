package chunks

import "github.com/2xppg/xppg/kcptransport"

var (
	_ Stream = (*kcptransport.Stream)(nil)
	_ Stream = (*pipeEnd)(nil)
)
