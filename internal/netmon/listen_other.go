//go:build !linux

package netmon

import "io"

// listen has nobody to listen to here.
func listen(func(hint)) (io.Closer, bool) { return nil, false }
