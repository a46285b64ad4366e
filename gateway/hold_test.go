package gateway_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// distant is a store that cannot always be reached.
type distant struct {
	gateway.Store
	away atomic.Bool
	// mute does what is asked and then does not say so.
	mute atomic.Bool
}

func (d *distant) reach() error {
	if d.away.Load() {
		return fmt.Errorf("secret detail: %w", gateway.ErrUnavailable)
	}
	return nil
}

func (d *distant) Update(ctx context.Context, id string, f func(*session.Session) error) error {
	if err := d.reach(); err != nil {
		return err
	}
	err := d.Store.Update(ctx, id, f)
	if d.mute.Load() && err == nil {
		return fmt.Errorf("secret detail: %w", gateway.ErrUnavailable)
	}
	return err
}

func (d *distant) Create(ctx context.Context, a gateway.Application, limit int) (gateway.Application, bool, error) {
	if err := d.reach(); err != nil {
		return gateway.Application{}, false, err
	}
	return d.Store.Create(ctx, a, limit)
}

func (d *distant) Use(ctx context.Context, id string) (gateway.Application, error) {
	if err := d.reach(); err != nil {
		return gateway.Application{}, err
	}
	return d.Store.Use(ctx, id)
}

func (d *distant) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	if err := d.reach(); err != nil {
		return nil, err
	}
	return d.Store.Due(ctx, now, limit)
}

func atADistance(t *testing.T, f func(w *world, d *distant)) {
	t.Helper()
	d := &distant{}
	inBubble(t, "me ana", func(w *world) { f(w, d) }, func(s *settings) {
		s.wrap = func(inner gateway.Store) gateway.Store { d.Store = inner; return d }
	})
}

func TestWhileTheStoreCannotBeReachedClientsAreToldWhenToTryAgain(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		d.away.Store(true)
		_, err := w.Application(w.t.Context(), me.Principal, me.app.ID)
		require.Positive(w.t, requireReason(w.t, gateway.Unavailable, err).RetryAfter)
		_, err = w.Subscribe(w.t.Context(), me.app, []string{address("ana")}, 30)
		require.Positive(w.t, requireReason(w.t, gateway.Unavailable, err).RetryAfter)
		_, err = w.CreateApplication(w.t.Context(), me.Principal, gateway.ApplicationRequest{Culture: "en-US", UserAgent: "test", EndpointID: "another"})
		require.Positive(w.t, requireReason(w.t, gateway.Unavailable, err).RetryAfter)
	})
}

func TestAPGetWaitsOnWhileTheStoreCannotBeReached(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		me.subscribe("ana")
		me.settle()
		p := me.pget(session.Poll{})
		w.source.say("Busy", "ana")
		d.away.Store(true)
		pass(2 * time.Minute) // its events fall due meanwhile
		require.True(w.t, p.parked())
		d.away.Store(false)
		<-p.done
		require.NoError(w.t, p.err)
		require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
	})
}

func TestAPGetThatArrivesWhileTheStoreCannotBeReachedWaits(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		me.subscribe("ana")
		me.settle()
		d.away.Store(true)
		p := me.pget(session.Poll{})
		given := me.pget(session.Poll{})
		pass(time.Minute)
		given.cancel()
		<-given.done
		require.ErrorIs(w.t, given.err, context.Canceled)
		require.True(w.t, p.parked())
		d.away.Store(false)
		w.source.say("Busy", "ana")
		<-p.done
		require.NoError(w.t, p.err)
		require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
	})
}

func TestAPackageIsNotLostWhenNobodyHearsThatItWasPut(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		me.subscribe("ana")
		me.settle()
		p := me.pget(session.Poll{})
		d.mute.Store(true)
		w.source.say("Busy", "ana")
		pass(time.Minute)
		require.True(w.t, p.parked())
		d.mute.Store(false)
		<-p.done
		require.NoError(w.t, p.err, "not that another request has taken its place")
		require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
		me.ack = p.pack.NextAck

		d.mute.Store(true)
		p = me.pget(session.Poll{})
		pass(time.Minute)
		require.True(w.t, p.parked())
		d.mute.Store(false)
		w.source.say("Available", "ana")
		<-p.done
		require.NoError(w.t, p.err)
		require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
	})
}

func TestADrainReleasesWhoWaitsForTheStore(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		me.settle()
		d.away.Store(true)
		p := me.pget(session.Poll{})
		pass(time.Second)
		began := time.Now()
		w.Drain(20 * time.Second)
		<-p.done
		require.Positive(w.t, requireReason(w.t, gateway.Unavailable, p.err).RetryAfter)
		require.LessOrEqual(w.t, time.Since(began), 20*time.Second)
	})
}

// TestAPGetThatIsHeldWhileTheStoreIsAwayIsNoSilence has the session know of no
// P-GET when the outage begins, or of one that nobody holds any more.
func TestAPGetThatIsHeldWhileTheStoreIsAwayIsNoSilence(t *testing.T) {
	for name, outage := range map[string]time.Duration{"past the soft reset": 12 * time.Minute, "past the end": 40 * time.Minute} {
		for _, before := range []string{"none parked", "one parked"} {
			t.Run(name+", "+before, func(t *testing.T) {
				atADistance(t, func(w *world, d *distant) {
					me := w.client("me")
					me.settle()
					gone := me.pget(session.Poll{})
					if before == "none parked" {
						gone.cancel()
						<-gone.done
						pass(time.Minute)
					}
					d.away.Store(true)
					if before == "one parked" {
						pass(time.Minute)
						gone.cancel()
						<-gone.done
					}
					p := me.pget(session.Poll{})
					pass(outage)
					require.True(w.t, p.parked())
					d.away.Store(false)
					<-p.done
					require.NoError(w.t, p.err)
					require.Equal(w.t, session.Next, p.pack.Rel, "nothing was reset")
				})
			})
		}
	}
}

// TestAPGetWhoseClientLeavesBeforeItIsKnownToWaitIsTakenBack has the reply to
// its arrival lost.
func TestAPGetWhoseClientLeavesBeforeItIsKnownToWaitIsTakenBack(t *testing.T) {
	atADistance(t, func(w *world, d *distant) {
		me := w.client("me")
		me.settle()
		d.mute.Store(true)
		lost := me.pget(session.Poll{Priority: 1})
		d.mute.Store(false)
		lost.cancel()
		<-lost.done
		require.ErrorIs(w.t, lost.err, context.Canceled)
		p := me.pget(session.Poll{})
		require.True(w.t, p.parked(), "nobody is in its way")
		p.cancel()
		<-p.done
	})
}
