package kcptransport

// Priority says whose data leaves first when a path cannot take it all. See [Stream.SetPriority].
type Priority uint8

// The priorities, of which a stream has PriorityNormal at first.
const (
	PriorityNormal      Priority = iota
	PriorityInteractive          // somebody waits for every message: before all else
	PriorityBulk                 // files: what the others leave over
)

// String returns the name of p in lower case.
func (p Priority) String() string {
	return [...]string{"interactive", "normal", "bulk"}[p.level()]
}

// level returns the index of p in mux.levels. What is no priority counts as PriorityNormal.
func (p Priority) level() int {
	switch p {
	case PriorityInteractive:
		return 0
	case PriorityBulk:
		return 2
	}
	return 1
}
