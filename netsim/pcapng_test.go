package netsim

import (
	"fmt"
	"testing"
	"time"
)

// pcapFile is what a test reads from a file.
type pcapFile struct {
	names   []string
	packets []pcapPacket
}

type pcapPacket struct {
	iface     int
	at        time.Time
	direction byte
	ip        []byte
	comment   string
}

// readPcapng reads a file of this package, and checks how it is made.
func readPcapng(t *testing.T, b []byte) (f pcapFile) {
	t.Helper()
	for first := true; len(b) > 0; first = false {
		if len(b) < 12 {
			t.Fatalf("%d bytes are left", len(b))
		}
		kind, length := le.Uint32(b), int(le.Uint32(b[4:]))
		if length%4 != 0 || length < 12 || length > len(b) || int(le.Uint32(b[length-4:])) != length {
			t.Fatalf("a block of type %#x has a length of %d", kind, length)
		}
		if first != (kind == blockSection) {
			t.Fatalf("a block of type %#x, first: %v", kind, first)
		}
		body := b[8 : length-4]
		b = b[length:]
		switch kind {
		case blockSection:
			if le.Uint32(body) != byteOrder || le.Uint16(body[4:]) != 1 || le.Uint16(body[6:]) != 0 {
				t.Fatalf("section %x", body)
			}
			readOptions(t, body[16:])
		case blockInterface:
			o := readOptions(t, body[8:])
			if le.Uint16(body) != linkTypeRaw || o[optTimeUnit] != "\x09" {
				t.Fatalf("interface %x", body)
			}
			f.names = append(f.names, o[optName])
		case blockPacket:
			size := int(le.Uint32(body[12:]))
			if le.Uint32(body[16:]) != uint32(size) {
				t.Fatalf("packet %x", body)
			}
			o := readOptions(t, body[20+(size+3)&^3:])
			f.packets = append(f.packets, pcapPacket{
				iface: int(le.Uint32(body)), ip: body[20 : 20+size], comment: o[optComment], direction: o[optFlags][0],
				at: time.Unix(0, int64(le.Uint32(body[4:]))<<32|int64(le.Uint32(body[8:]))),
			})
		default:
			t.Fatalf("a block of type %#x", kind)
		}
	}
	return f
}

func readOptions(t *testing.T, b []byte) map[uint16]string {
	t.Helper()
	o := map[uint16]string{}
	for {
		if len(b) < 4 {
			t.Fatal("options without an end")
		}
		code, length := le.Uint16(b), int(le.Uint16(b[2:]))
		if code == optEnd {
			if length != 0 || len(b) != 4 {
				t.Fatalf("%d bytes after the end of the options", len(b)-4)
			}
			return o
		}
		o[code] = string(b[4 : 4+length])
		b = b[4+(length+3)&^3:]
	}
}

func TestPcapng(t *testing.T) {
	b := appendInterface(appendInterface(appendSection(nil), "eins"), "zwei")
	at := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
	for i := range 9 {
		b = appendPacket(b, uint32(i%2), uint64(at.UnixNano()), inbound, make([]byte, 28+i), fmt.Sprintf("%.*s", i, "comments"))
	}
	f := readPcapng(t, b)
	if fmt.Sprint(f.names) != "[eins zwei]" || len(f.packets) != 9 {
		t.Fatalf("%+v", f)
	}
	for i, p := range f.packets {
		if p.iface != i%2 || !p.at.Equal(at) || len(p.ip) != 28+i || p.comment != "comments"[:min(i, 8)] || p.direction != inbound {
			t.Errorf("packet %d is %+v", i, p)
		}
	}
}
