package relaymesh

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// A refusal says what was asked for, and says it once.
func TestRefusalNamesWhatWasAskedFor(t *testing.T) {
	peer := peerNumber(1)
	for _, tt := range []struct {
		asked Asked
		code  RefuseCode
		want  string
	}{
		{AskedIntroduction, RefusedBusy, "relaymesh: introduction to %: too many introductions at once (try again later)"},
		{AskedCircuit, RefusedBusy, "relaymesh: circuit to %: too many circuits at once (try again later)"},
		{AskedReservation, RefusedRate, "relaymesh: reservation with %: too many reservations in a short time (slow down)"},
		{AskedIntroduction, RefusedUnknown, "relaymesh: introduction to %: the introducer has no link to that peer (ask one that has, or try later)"},
		{AskedCircuit, RefusedUnknown, "relaymesh: circuit to %: the relay has no link to that peer (ask one that has, or try later)"},
		{AskedCircuit, RefusedClosing, "relaymesh: circuit to %: the relay is shutting down (ask another)"},
	} {
		err := refusal(tt.asked, peer, tt.code)
		if want := strings.ReplaceAll(tt.want, "%", peer.Short()); err.Error() != want || tt.asked.failed(peer, err).Error() != want {
			t.Errorf("%q and %q, want %q", err, tt.asked.failed(peer, err), want)
		}
	}
	if err := AskedCircuit.failed(peer, io.EOF); !errors.Is(err, io.EOF) || err.Error() != "relaymesh: circuit to "+peer.Short()+": EOF" {
		t.Errorf("%q", err)
	}
}
