package punch

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestInferPorts(t *testing.T) {
	for _, c := range []struct {
		ports string // outside, of the sockets 7000, 7001 ...
		want  Ports
	}{
		{"", PortsUnknown},
		{"7000", PortsPreserved},
		{"9", PortsChanged},
		{"7000 7001 7002 9", PortsPreserved},
		{"1 2 3 4 5 6", PortsChanged},
		{"1000 1001 40 301 62 9003", PortsParityKept},
		{"1000 1001 40", PortsChanged}, // too few to say more
	} {
		var seen []sighting
		for i, f := range strings.Fields(c.ports) {
			seen = append(seen, sighting{local: uint16(7000 + i), mapped: netip.MustParseAddrPort("203.0.113.1:" + f)})
		}
		if got := inferPorts(seen); got.Is != c.want || (c.want == PortsUnknown) != (got.Confidence == 0) {
			t.Errorf("%s: %v, want %v", c.ports, got, c.want)
		}
	}
}

func TestInferStep(t *testing.T) {
	for _, c := range []struct {
		name  string
		ports []uint16
		want  int // 0: unknown
	}{
		{"too few", []uint16{1000, 1001, 1002}, 0},
		{"by one", []uint16{1000, 1001, 1002, 1003, 1004}, 1},
		{"by two", []uint16{1000, 1002, 1004, 1006, 1008}, 2},
		{"downwards", []uint16{1008, 1006, 1004, 1002}, -2},
		{"by 256", []uint16{20000, 20256, 20512, 20768}, 256},
		{"with the traffic of others", []uint16{1000, 1002, 1004, 1010, 1012, 1020, 1022}, 2},
		{"round the end", []uint16{65534, 0, 2, 4}, 2},
		{"begins anew", []uint16{1990, 1992, 1994, 1996, 1998, 1000, 1002, 1004}, 2},
		{"one is wrong", []uint16{1000, 1001, 1002, 666, 1004, 1005, 1006, 1007, 1008, 1009}, 1},
		{"the same", []uint16{1000, 1000, 1000, 1000}, 0},
		{"nothing", []uint16{3, 40000, 17, 9111, 60000, 22222, 80, 55555}, 0},
	} {
		if got := inferStep(c.ports); got.Is != c.want || (c.want == 0) != (got.Confidence == 0) {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
}

func TestInferBlock(t *testing.T) {
	for _, c := range []struct {
		name  string
		ports []uint16
		want  PortRange
		sure  bool
	}{
		{"too few", []uint16{1024, 1300, 1200}, PortRange{}, false},
		{"aligned", []uint16{40961, 41980, 41500, 41003, 41700, 41234, 41111, 41888}, PortRange{40960, 41983}, true},
		{"one is wrong", []uint16{40961, 41980, 41500, 41003, 41700, 41234, 41111, 9}, PortRange{40960, 41983}, true},
		{"not aligned", []uint16{40000, 41020, 40500, 40003, 40700, 40234, 40111, 41000}, PortRange{39855, 41165}, false},
		{"everywhere", []uint16{3000, 40000, 1700, 9111, 60000, 22222, 8000, 55555}, PortRange{}, false},
	} {
		if got := inferBlock(c.ports); got.Is != c.want || (got.Confidence > 0.8) != c.sure {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Eight samples find the aligned block of a carrier's customer in 97 of 100 cases, and see none in random ports.
func TestEightSamplesFindTheBlock(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{256, 512, 1024} {
		found, seen := 0, 0
		for range 1000 {
			start := 1024 + r.IntN(60)*1024/size*size
			var block, anywhere []uint16
			for range 8 {
				block = append(block, uint16(start+r.IntN(size)))
				anywhere = append(anywhere, uint16(1024+r.IntN(64512)))
			}
			if inferBlock(block).Is == (PortRange{uint16(start), uint16(start + size - 1)}) {
				found++
			}
			if inferBlock(anywhere).Confidence > 0 || inferStep(anywhere).Confidence > 0 {
				seen++
			}
		}
		if found < 970 || seen > 3 {
			t.Errorf("blocks of %d: found %d of 1000, saw %d where there was none", size, found, seen)
		}
	}
}

// A step is found through the mappings that others make in between.
func TestStepThroughTraffic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, step := range []int{1, 2, 4, -1, 256} {
		for _, others := range []int{1, 2, 4} { // on average half as many
			found := 0
			for range 1000 {
				port, ports := r.IntN(65536), []uint16(nil)
				for range 8 {
					ports = append(ports, uint16(port))
					port += step * (1 + r.IntN(others+1))
				}
				if inferStep(ports).Is == step {
					found++
				}
			}
			if want := []int{1: 950, 2: 900, 4: 700}[others]; found < want {
				t.Errorf("step %d among %d others: found %d of 1000", step, others, found)
			}
		}
	}
}

func TestInferAddresses(t *testing.T) {
	for _, c := range []struct {
		seen string
		want int
	}{
		{"", 0},
		{"a 203.0.113.1:9", 1},
		{"a 203.0.113.1:9, b 203.0.113.2:9", 2},
		{"a 203.0.113.1:9, b 203.0.113.1:9, c 203.0.113.2:9", 1},
		{"a 203.0.113.1:9, b 203.0.113.1:9, c 203.0.113.2:9, c 203.0.113.3:9", 1},
		{"a 203.0.113.1:9, b 203.0.113.1:9, c 203.0.113.2:9, a 203.0.113.2:10", 2},
		{"a 203.0.113.1:9, b 203.0.113.2:9, c 203.0.113.3:9, d 203.0.113.4:9", 4},
	} {
		if got := inferAddresses(sightings(c.seen)); got.Is != c.want {
			t.Errorf("%s: %v, want %d", c.seen, got, c.want)
		}
	}
}

func ExampleNAT_String() {
	fmt.Println(NAT{Mapping: Belief[Behaviour]{EndpointIndependent, 0.97}, Ports: Belief[Ports]{PortsPreserved, 0.91}})
	// Output: mapping endpoint-independent (97 % sure), filtering unknown, port preserved (91 % sure)
}
