package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// FuzzReadFrame reads hostile bytes as frames of messages and of peer records.
func FuzzReadFrame(f *testing.F) {
	var b bytes.Buffer
	_ = writeFrame(&b, envelope{Type: typeMessage, Seq: 1, Kind: "k", Payload: []byte{1}})
	f.Add(b.Bytes())
	b.Reset()
	r := makeRecord(testIdentity(1), "app", time.Unix(1_700_000_000, 0), ownRecord{}, false)
	_ = writeFrame(&b, gossipFrame{Records: []record{r}})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var e envelope
		if readFrame(bytes.NewReader(b), maxFrame, &e) == nil && e.valid() == nil {
			var again bytes.Buffer
			var got envelope
			if err := writeFrame(&again, e); err != nil {
				t.Fatal(err)
			}
			if err := readFrame(&again, maxFrame, &got); err != nil || got.valid() != nil {
				t.Fatalf("%+v cannot be read again: %v", e, err)
			}
		}
		var g gossipFrame
		if readFrame(bytes.NewReader(b), maxGossipFrame, &g) == nil {
			for _, r := range g.Records {
				if info, err := r.check("app", time.Unix(1_700_000_000, 0)); err == nil && len(info.Addrs) > maxTicketAddrs {
					t.Fatalf("took %+v", info)
				}
			}
		}
	})
}

func TestReadFrameBounds(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":         {0, 0, 0, 0},
		"beyond limit":  {0xff, 0xff, 0xff, 0xff, 1},
		"cut off":       {0, 0, 0, 9, 1},
		"not CBOR":      {0, 0, 0, 1, 0xff},
		"header cut":    {0, 0},
		"nothing":       {},
		"another shape": {0, 0, 0, 1, 1},
	} {
		var e envelope
		if err := readFrame(bytes.NewReader(b), 100, &e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var e envelope
	if err := readFrame(bytes.NewReader([]byte{0, 0, 0, 9, 1}), 100, &e); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}
