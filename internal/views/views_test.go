package views

import (
	"net/netip"
	"testing"
)

// lines has one datagram for each string.
type lines []string

func (l *lines) ReadBatch(bufs [][]byte, sizes []int, _ []netip.AddrPort) (n int, err error) {
	for ; n < len(bufs) && len(*l) > 0; n++ {
		sizes[n] = copy(bufs[n], (*l)[0])
		*l = (*l)[1:]
	}
	return n, nil
}

// showing is a Conn that has views of its own.
type showing struct{ lines }

func (s *showing) ReadViews(views [][]byte, _ []netip.AddrPort) (int, error) {
	views[0] = []byte("its own")
	return 1, nil
}

func TestOf(t *testing.T) {
	views, addrs := make([][]byte, 5), make([]netip.AddrPort, 5)
	read := Of(&lines{"one", "two", "three and more"}, 2, 5)
	for _, want := range [][]string{{"one", "two"}, {"three"}} {
		n, err := read(views, addrs)
		if err != nil || n != len(want) {
			t.Fatalf("%d, %v", n, err)
		}
		for i, w := range want {
			if string(views[i]) != w {
				t.Errorf("%q, want %q", views[i], w)
			}
		}
	}
	if n, err := Of(&showing{}, 2, 5)(views, addrs); n != 1 || err != nil || string(views[0]) != "its own" {
		t.Errorf("%d %q, %v", n, views[0], err)
	}
}
