package gateway

import (
	"context"
	"errors"
	"time"

	"ucwagate/gateway/session"
)

const (
	// tickEvery is how often sessions are looked at for whom something is due:
	// warnings, expiry. Both are matters of minutes.
	tickEvery = time.Second
	// dueAtOnce bounds how many sessions one call of the store returns.
	dueAtOnce = 1000
)

// ticker lets time pass in the sessions for which something is due.
type ticker struct {
	gateway *Gateway
	lost    time.Time // since when the store cannot tell what is due; zero: it can
}

// tick does so once. What fell due while the store could not be reached for long
// it leaves alone until the store returns it again: the P-GETs that were held
// meanwhile come first, or their clients would pass for silent. For a part of the
// store that could not be reached, Due does the same.
func (t *ticker) tick(ctx context.Context) {
	g := t.gateway
	for ctx.Err() == nil {
		now := g.clock.Now()
		ids, err := g.store.Due(ctx, now, dueAtOnce)
		if err != nil {
			if t.lost.IsZero() {
				t.lost = now
			}
			g.log.ErrorContext(ctx, "the store could not tell what is due", "error", err)
			return
		}
		wait := !t.lost.IsZero() && now.Sub(t.lost) >= LongAway
		if !wait && !t.all(ctx, ids) {
			return // what is due comes again
		}
		if len(ids) < dueAtOnce {
			t.lost = time.Time{}
			return
		}
	}
}

// all ticks sessions and reports whether the store can be reached.
func (t *ticker) all(ctx context.Context, ids []string) bool {
	g := t.gateway
	for _, id := range ids {
		var owner string
		var wanted bool
		err := g.store.Update(ctx, id, func(s *session.Session) error {
			if s.Tick(g.clock.Now()) {
				return ErrExpired
			}
			owner, wanted = s.TakeKeepAlive()
			return nil
		})
		if err == nil && wanted {
			g.publisher.keepAlive(owner, id)
		}
		var ended *EndedError
		if err != nil && !errors.Is(err, ErrExpired) && !errors.As(err, &ended) {
			g.log.ErrorContext(ctx, "a session could not be updated", "application", id, "error", err)
		}
		if errors.Is(err, ErrUnavailable) {
			return false
		}
	}
	return true
}
