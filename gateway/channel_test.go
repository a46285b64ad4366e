package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

func TestAClientThatComesBackAfterASilenceHasToSubscribeAnew(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		sub := me.subscribe("ana")
		me.fetch(session.Poll{Medium: time.Minute})
		pass(9*time.Minute + 50*time.Second)
		require.Equal(w.t, []string{"id-ana"}, w.source.watched())
		pass(12 * time.Second)
		require.Empty(w.t, w.source.watched())
		_, err := w.Subscription(ctx, me.app, sub.ID)
		requireReason(w.t, gateway.NotFound, err)

		began := time.Now()
		p := me.fetch(session.Poll{})
		require.Equal(w.t, session.Resume, p.Rel)
		require.Zero(w.t, time.Since(began), "it is told at once")
		require.Equal(w.t, []string{"contact deleted ana in subscribedContacts", "presenceSubscription deleted"}, said(p))
		me.subscribe("ana")
		began = time.Now()
		p = me.fetch(session.Poll{})
		require.Equal(w.t, session.Next, p.Rel)
		require.Equal(w.t, 5*time.Second, time.Since(began), "the timers were forgotten")
		require.Len(w.t, p.Events, 3)
	})
}

func TestAnApplicationExpiresWhenItsChannelIsSilent(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(w *world, me *client)
	}{
		{"after its last answer", func(_ *world, me *client) { me.fetch(session.Poll{}) }},
		{"after its client went away", func(w *world, me *client) {
			p := me.pget(session.Poll{Timeout: session.MaxTimer})
			pass(20 * time.Minute)
			require.True(w.t, p.parked(), "a P-GET that waits is no silence")
			p.cancel()
			<-p.done
			require.ErrorIs(w.t, p.err, context.Canceled)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me, ctx := w.client("me"), w.t.Context()
				c.before(w, me)
				began := time.Now()
				pass(14*time.Minute + 50*time.Second)
				_, err := w.Application(ctx, me.Principal, me.app.ID)
				require.NoError(w.t, err)
				pass(12 * time.Second)
				gone := func(want gateway.Reason) {
					_, err := w.Application(ctx, me.Principal, me.app.ID)
					requireReason(w.t, want, err)
					_, err = w.Subscribe(ctx, me.app, []string{"ana@contoso.com"}, 10)
					requireReason(w.t, want, err)
					p := me.pget(session.Poll{})
					require.False(w.t, p.parked())
					requireReason(w.t, want, p.err)
				}
				gone(gateway.InactiveApplicationExpired)
				_, err = w.Application(ctx, principal("ana"), me.app.ID)
				requireReason(w.t, gateway.ApplicationNotFound, err)
				pass(time.Until(began.Add(74 * time.Minute)))
				gone(gateway.InactiveApplicationExpired)
				pass(8 * time.Minute)
				gone(gateway.ApplicationNotFound)
			})
		})
	}
}

func TestAPGetThatComesTooLateFindsTheApplicationExpired(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me := w.client("me")
		me.subscribe("ana")
		me.settle()
		pass(15 * time.Minute)
		require.NotEmpty(w.t, w.source.watched(), "nobody has looked at it since")
		p := me.pget(session.Poll{})
		require.False(w.t, p.parked())
		requireReason(w.t, gateway.InactiveApplicationExpired, p.err)
		require.Empty(w.t, w.source.watched())
	}, func(s *settings) { s.wrap = func(store gateway.Store) gateway.Store { return unattended{store} } })
}

// unattended is a store of whose sessions another replica, which is late, has
// to take care.
type unattended struct{ gateway.Store }

func (unattended) Due(context.Context, time.Time, int) ([]string, error) { return nil, nil }

func TestAPGetThatWaitsEndsWithWhatItWaitsOn(t *testing.T) {
	refused := func(want gateway.Reason) func(*world, *client, *pget) {
		return func(w *world, _ *client, p *pget) {
			require.False(w.t, p.parked())
			requireReason(w.t, want, p.err)
			require.Nil(w.t, p.pack)
		}
	}
	for _, c := range []struct {
		name string
		end  func(w *world, me *client, p *pget)
		want func(w *world, me *client, p *pget)
	}{
		{"when its application is deleted", func(w *world, me *client, _ *pget) {
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, ""))
		}, refused(gateway.ApplicationNotFound)},
		{"when its instance is deleted", func(w *world, me *client, _ *pget) {
			w.endpoint("me", me.app.EndpointID, "tab", "en-US")
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, me.instance))
		}, refused(gateway.NotFound)},
		{"when newer applications push its own out", func(w *world, _ *client, _ *pget) {
			w.client("me")
			w.client("me")
		}, refused(gateway.TooManyApplications)},
		{"when the same endpoint starts a different application", func(w *world, me *client, _ *pget) {
			w.endpoint("me", me.app.EndpointID, "", "de-DE")
		}, refused(gateway.ApplicationNotFound)},
		{"when another one takes its place", func(w *world, me *client, _ *pget) {
			require.True(w.t, me.pget(session.Poll{Priority: 1}).parked())
		}, refused(gateway.PGetReplaced)},
		{"when another one of the same priority comes", func(w *world, me *client, _ *pget) {
			require.True(w.t, me.pget(session.Poll{}).parked())
		}, refused(gateway.PGetReplaced)},
		{"when its client is gone", func(_ *world, _ *client, p *pget) { p.cancel() }, func(w *world, me *client, p *pget) {
			require.False(w.t, p.parked())
			require.ErrorIs(w.t, p.err, context.Canceled)
			w.source.say("Busy", "ana")
			pass(2 * time.Second)
			began := time.Now()
			require.Equal(w.t, []string{"contactPresence updated ana"}, me.next(), "the same number is there for the next one")
			require.Equal(w.t, 3*time.Second, time.Since(began), "the timer counts from the event")
		}},
		{"when the gateway closes", func(w *world, _ *client, _ *pget) { w.Close() }, func(w *world, _ *client, p *pget) {
			require.False(w.t, p.parked())
			require.NoError(w.t, p.err)
			require.Equal(w.t, session.Next, p.pack.Rel)
		}},
		{"not when one of lower priority comes", func(w *world, me *client, _ *pget) {
			weaker := me.pget(session.Poll{Priority: -1})
			require.False(w.t, weaker.parked())
			requireReason(w.t, gateway.PGetReplaced, weaker.err)
		}, func(w *world, _ *client, p *pget) {
			require.True(w.t, p.parked())
			w.source.say("Busy", "ana")
			<-p.done
			require.NoError(w.t, p.err)
			require.Equal(w.t, []string{"contactPresence updated ana"}, said(p.pack))
		}},
		{"not when another instance waits", func(w *world, me *client, _ *pget) {
			require.True(w.t, w.endpoint("me", me.app.EndpointID, "tab", "en-US").pget(session.Poll{}).parked())
		}, func(w *world, _ *client, p *pget) { require.True(w.t, p.parked()) }},
		{"not when a number nobody offered is asked for", func(w *world, me *client, _ *pget) {
			wild := me.pget(session.Poll{Ack: 77})
			require.False(w.t, wild.parked())
			require.Equal(w.t, session.Package{Ack: 77, Rel: session.Resync, NextAck: me.ack}, *wild.pack)
		}, func(w *world, _ *client, p *pget) { require.True(w.t, p.parked()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me := w.endpoint("me", "e", "first", "en-US")
				me.subscribe("ana")
				me.settle()
				p := me.pget(session.Poll{})
				require.True(w.t, p.parked())
				c.end(w, me, p)
				synctest.Wait()
				c.want(w, me, p)
			}, func(s *settings) { s.Limits.ApplicationsPerUser = 2 })
		})
	}
}

func TestAPackageThatWasLostIsSentAgain(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me := w.client("me")
		me.subscribe("ana")
		first := me.fetch(session.Poll{})
		at, err := w.Position(w.t.Context(), me.app, "")
		require.NoError(w.t, err)
		require.Equal(w.t, first.Ack, at, "whose receipt is not proved")
		w.source.say("Busy", "ana")
		me.ack = first.Ack
		require.Same(w.t, first, me.fetch(session.Poll{}))
		require.Equal(w.t, []string{"contactPresence updated ana"}, me.next())
	})
}

func TestTheChannelOfAnInstanceThatWasNotCreatedIsNotFound(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		me := w.client("me")
		me.instance = "other"
		p := me.pget(session.Poll{Ack: 1})
		require.False(w.t, p.parked())
		require.Contains(w.t, requireReason(w.t, gateway.NotFound, p.err).Message, "instance")
	})
}

func TestAClientThatDoesNotFetchItsEventsIsToldToBeginAnew(t *testing.T) {
	var log logged
	inBubble(t, "me ana bo cy", func(w *world) {
		me := w.client("me")
		me.subscribe("ana", "bo", "cy") // seven events
		p := me.fetch(session.Poll{Ack: 1})
		require.Equal(w.t, session.Resync, p.Rel)
		require.Empty(w.t, p.Events)
		require.Contains(w.t, log.String(), "resynchronize")
		require.Contains(w.t, log.String(), me.app.ID)
		me.settle()
		w.source.say("Busy", "ana")
		require.Equal(w.t, []string{"contactPresence updated ana"}, me.next())
	}, func(s *settings) {
		s.Limits.Session.Events = 5
		s.Logger = log.logger()
	})
}
