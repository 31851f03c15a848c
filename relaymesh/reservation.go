package relaymesh

import (
	"context"
	"errors"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// KindReserve is the kind of the stream on which a peer holds a reservation with a relay.
const KindReserve = "xppg/reserve"

// Reservation is a relay's promise to let others reach us by way of it: it lasts until its end, and is renewed at half time
// while [Reservation.Keep] runs. It is for one goroutine.
type Reservation struct {
	Limits  Limits        // of the circuits to us
	Lasts   time.Duration // from when it was given or renewed
	Renewed time.Time     // when that was

	// OnRenewed, if there is one, is called by Keep each time that the reservation was renewed: the limits may have changed.
	OnRenewed func()

	relay  kcptransport.PeerID
	stream Stream
}

// Reserve asks the relay behind opener for a reservation, of which the relay decides how long it lasts. It waits for the answer
// until ctx ends, 5 seconds at most. A relay that refuses is told by a [*RefusedError].
func Reserve(ctx context.Context, relay kcptransport.PeerID, opener Opener) (*Reservation, error) {
	ctx, cancel := context.WithTimeout(ctx, acceptTimeout)
	defer cancel()
	r := &Reservation{relay: relay}
	_, err := askOn(ctx, opener, KindReserve, func(s Stream) error {
		r.stream = s
		return r.renew()
	})
	if err != nil {
		return nil, AskedReservation.failed(relay, err)
	}
	return r, nil
}

// renew asks for the time from now on.
func (r *Reservation) renew() error {
	if _, err := r.stream.Write(appendFrame(nil, frameReserve, version)); err != nil {
		return err
	}
	body, err := readAnswer(r.stream, AskedReservation, r.relay, frameReserved)
	if err != nil {
		return err
	}
	r.Renewed = time.Now()
	r.Limits, r.Lasts, err = parseReserved(body)
	return err
}

// Keep renews the reservation until ctx ends or the relay ends it, and gives it back. The error is nil when ctx has ended, and a
// [*RefusedError] when the relay told why.
func (r *Reservation) Keep(ctx context.Context) error {
	defer r.stream.Close()
	defer interruptOn(ctx, r.stream)()
	for {
		err := r.wait(ctx)
		if err == nil {
			if err = setDeadline(ctx, acceptTimeout, r.stream); err == nil {
				err = r.renew()
			}
			if err == nil && r.OnRenewed != nil {
				r.OnRenewed()
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return AskedReservation.failed(r.relay, err)
		}
	}
}

// wait returns nil at half time, and an error when the relay ends the reservation before that.
func (r *Reservation) wait(ctx context.Context) error {
	half := time.Until(r.Renewed.Add(r.Lasts / 2))
	if err := setDeadline(ctx, max(half, time.Second), r.stream); err != nil {
		return err
	}
	_, err := readAnswer(r.stream, AskedReservation, r.relay, frameReserved)
	switch {
	case isTimeout(err):
		return nil
	case err == nil:
		return errors.New("an answer to no question")
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
