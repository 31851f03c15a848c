package netmon

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// message makes a netlink message, in the byte order of the machines we test on.
func message(kind uint16, body ...byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	return append(b, body...)
}

// route is the body of a route message.
func route(prefix, table, kind byte) []byte {
	return []byte{unix.AF_INET, prefix, 0, 0, table, 0, 0, kind, 0, 0, 0, 0}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want hint
		look bool
	}{
		{"address", message(unix.RTM_NEWADDR, make([]byte, 8)...), hint{}, true},
		{"link", message(unix.RTM_DELLINK, make([]byte, 16)...), hint{}, true},
		{"default route", message(unix.RTM_NEWROUTE, route(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)...), hint{rerouted: true}, true},
		{"default route of another table", message(unix.RTM_NEWROUTE, route(0, 100, unix.RTN_UNICAST)...), hint{}, false},
		{"route to a subnet", message(unix.RTM_NEWROUTE, route(24, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)...), hint{}, false},
		{"default route after another message", append(message(unix.RTM_NEWNEIGH, make([]byte, 12)...),
			message(unix.RTM_DELROUTE, route(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)...)...), hint{rerouted: true}, true},
		{"neighbour", message(unix.RTM_NEWNEIGH, make([]byte, 12)...), hint{}, false},
		{"short route", message(unix.RTM_NEWROUTE, 2, 0, 0, 0), hint{}, false},
		{"garbage", []byte{255, 255, 255, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9}, hint{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if h, look := parse(tt.b); h != tt.want || look != tt.look {
				t.Errorf("got %+v, look %v; want %+v, %v", h, look, tt.want, tt.look)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(unix.RTM_NEWROUTE, route(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parse(b); h.rerouted && !ok {
			t.Error("a route that changed is not worth a look")
		}
	})
}
