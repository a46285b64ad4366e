package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"ucwagate/gateway/session"
)

// hold is a P-GET that goes on to wait while the store cannot be reached. To its
// client that looks as if nothing happened.
type hold struct {
	gateway *Gateway
	app     Application
	parked  Parked
	// uncertain says that an Update may have been kept without anybody knowing
	// what it said: the P-GET may be the one that was answered.
	uncertain bool
}

// The pauses before the store is asked again; a wake ends them.
const (
	firstHold = time.Second
	lastHold  = 15 * time.Second
)

// update is Store.Update that waits until the store can be reached, the client
// is gone, or the process is about to end. Its error is for the client.
func (h *hold) update(ctx context.Context, f func(*session.Session) error) error {
	g := h.gateway
	for pause := firstHold; ; pause = min(2*pause, lastHold) {
		err := g.store.Update(ctx, h.app.ID, f)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrUnavailable) {
			return g.sessionError(h.app, err)
		}
		h.uncertain = true
		select { // a wake that this attempt has brought about itself
		case <-h.parked.Wake():
		default:
		}
		if over := h.wait(ctx, pause); over != nil {
			return over
		}
		select {
		case <-g.drain.started:
			if over := g.drain.turn(ctx, g.clock); over != nil {
				return over
			}
			return g.sessionError(h.app, err)
		default:
		}
	}
}

// wait returns after about d, or earlier if there is something new.
func (h *hold) wait(ctx context.Context, d time.Duration) error {
	over := make(chan struct{})
	timer := h.gateway.clock.AfterFunc(d/2+rand.N(d), func() { close(over) })
	defer timer.Stop()
	select {
	case <-over:
	case <-h.parked.Wake():
	case <-h.gateway.drain.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
