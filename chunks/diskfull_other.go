//go:build !unix && !windows

package chunks

func diskFull(error) bool { return false }
