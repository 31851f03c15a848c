package udp

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// zoneLifetime is how long the names of interfaces are believed.
const zoneLifetime = time.Minute

// zones is shared by all sockets: interfaces belong to the machine.
var zones zoneCache

// zoneCache knows the zone names of link-local addresses: the names of interfaces, or their index where there is none.
type zoneCache struct {
	mu      sync.Mutex
	fetched time.Time
	names   map[uint32]string
	indices map[string]uint32
}

func (z *zoneCache) name(index uint32) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	name, ok := z.names[index]
	if !ok {
		name = strconv.FormatUint(uint64(index), 10)
		z.names[index] = name
	}
	return name
}

// index is 0, no interface at all, for a name that nobody has.
func (z *zoneCache) index(name string) uint32 {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	if i, ok := z.indices[name]; ok {
		return i
	}
	i, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(i)
}

func (z *zoneCache) refresh() {
	now := time.Now()
	if z.names != nil && now.Sub(z.fetched) < zoneLifetime {
		return
	}
	z.fetched = now
	z.names, z.indices = make(map[uint32]string), make(map[string]uint32)
	interfaces, err := net.Interfaces()
	if err != nil {
		return
	}
	for _, i := range interfaces {
		z.names[uint32(i.Index)] = i.Name
		z.indices[i.Name] = uint32(i.Index)
	}
}
