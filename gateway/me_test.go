package gateway_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// available makes a client's user available.
func (c *client) available(signInAs mapping.PreferredAvailability) {
	c.t.Helper()
	require.NoError(c.t, c.MakeMeAvailable(c.t.Context(), c.Principal, c.app, gateway.AvailabilityRequest{
		SignInAs: signInAs, Communication: gateway.Communication{Modalities: []string{"messaging"}},
	}))
	synctest.Wait()
}

func (c *client) active() {
	c.t.Helper()
	_, err := c.Application(c.t.Context(), c.Principal, c.app.ID) // as every request does
	require.NoError(c.t, err)
	require.NoError(c.t, c.ReportActivity(c.t.Context(), c.Principal, c.app))
	synctest.Wait()
}

const there = "me setPresence Available Available 1h5m0s"

func TestMakingAvailableIsPublishedAndConfirmed(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me := w.client("me")
		w.source.say("Offline", "me")
		me.available("")
		require.Equal(t, []string{there}, w.source.heard())
		require.Equal(t, []string{"communication updated", "me updated", "presence added", "note added", "location added"}, me.next())
		w.source.say("Busy", "me")
		require.Equal(t, []string{"presence updated"}, me.nextAny(), "other programs change it too")
		w.source.say("Available", "me")
		_, p, err := me.OwnPresence(t.Context(), me.Principal, me.app)
		require.NoError(t, err)
		require.Equal(t, mapping.Online, p.Availability)

		standing, err := me.Standing(t.Context(), me.Principal, me.app)
		require.NoError(t, err)
		require.True(t, standing.Available)
		require.True(t, standing.Publishes)
		require.Equal(t, []string{"Messaging"}, standing.Communication.Modalities)
		requireReason(t, gateway.AlreadyExists, me.MakeMeAvailable(t.Context(), me.Principal, me.app, gateway.AvailabilityRequest{}))
	})
}

func TestBeforeMakingAvailableNothingOfOnesOwnIsThere(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		requireReason(t, gateway.MakeMeAvailableRequired, me.ReportActivity(ctx, me.Principal, me.app))
		requireReason(t, gateway.MakeMeAvailableRequired, me.SetPresence(ctx, me.Principal, me.app, mapping.PreferBusy))
		requireReason(t, gateway.MakeMeAvailableRequired, me.SetNote(ctx, me.Principal, me.app, "x"))
		requireReason(t, gateway.MakeMeAvailableRequired, me.SetLocation(ctx, me.Principal, me.app, "x"))
		_, _, err := me.OwnPresence(ctx, me.Principal, me.app)
		requireReason(t, gateway.MakeMeAvailableRequired, err)
		_, _, err = me.OwnLocation(ctx, me.app)
		requireReason(t, gateway.MakeMeAvailableRequired, err)
		require.Empty(t, w.source.heard())
	})
}

func TestOnePersonIsPublishedOnceHoweverManyApplicationsTheyHave(t *testing.T) {
	inBubble(t, "me you", func(w *world) {
		t := w.t
		clients := []*client{w.client("me"), w.client("me"), w.client("me")}
		for i, c := range clients {
			pass(time.Duration(i) * 20 * time.Second)
			c.available("")
		}
		require.Equal(t, []string{there}, w.source.heard())
		for range 60 { // an hour in which all report every minute
			pass(time.Minute)
			for _, c := range clients {
				c.active()
			}
		}
		said := w.source.heard()
		require.GreaterOrEqual(t, len(said), 14, "at least every 4 minutes and a moment")
		require.LessOrEqual(t, len(said), 16, "and hardly more")
		for _, s := range said {
			require.Equal(t, there, s)
		}
		for i, c := range clients {
			require.Empty(t, w.source.heard())
			require.NoError(t, c.DeleteApplication(t.Context(), c.Principal, c.app.ID, ""))
			synctest.Wait()
			if i < len(clients)-1 {
				require.Empty(t, w.source.heard(), "others are there")
			}
		}
		require.Equal(t, []string{"me clearPresence"}, w.source.heard())
		w.client("me").available("")
		require.Equal(t, []string{there}, w.source.heard(), "who comes back is there at once")
	})
}

func TestKeepAlivesAreNeverFiveMinutesApartWhileAnybodyIsActive(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		a, b := w.client("me"), w.client("me")
		a.available("")
		pass(90 * time.Second)
		b.available("")
		w.source.heard()
		last := time.Now().Add(-90 * time.Second)
		for i := range 400 { // in turns: first a alone, then b alone
			pass(10 * time.Second)
			if i%20 == 0 {
				if i < 200 {
					a.active()
				} else {
					b.active()
				}
			}
			if len(w.source.heard()) > 0 {
				last = time.Now()
			}
			require.Less(t, time.Since(last), 5*time.Minute, "after %d rounds", i)
		}
	})
}

func TestWithoutActivityNothingIsSaidUntilTheApplicationEnds(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me := w.client("me")
		me.available("")
		require.Equal(t, []string{there}, w.source.heard())
		began := time.Now()
		for time.Since(began) < 54*time.Minute {
			me.fetch(session.Poll{Timeout: 5 * time.Minute})
		}
		p := me.pget(session.Poll{Timeout: 30 * time.Minute})
		pass(time.Until(began.Add(time.Hour - time.Second)))
		require.Empty(t, w.source.heard(), "the source lets it fade")
		require.True(t, p.parked())
		pass(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"me clearPresence"}, w.source.heard())
		require.False(t, p.parked())
		_, err := me.Application(t.Context(), me.Principal, me.app.ID)
		requireReason(t, gateway.InactiveApplicationExpired, err)
	})
}

func TestPublishingFollowsTheTable(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		me.available(mapping.PreferOnline)
		require.Equal(t, []string{there, "me clearUserPreferredPresence"}, w.source.heard(), "being online takes an earlier preference back")
		for preferred, want := range map[mapping.PreferredAvailability]string{
			mapping.PreferOnline: "Available Available", mapping.PreferBusy: "Busy Busy", mapping.PreferDoNotDisturb: "DoNotDisturb DoNotDisturb",
			mapping.PreferBeRightBack: "BeRightBack BeRightBack", mapping.PreferAway: "Away Away", mapping.PreferOffwork: "Offline OffWork",
		} {
			require.NoError(t, me.SetPresence(ctx, me.Principal, me.app, preferred))
			require.Equal(t, []string{"me setUserPreferredPresence " + want}, w.source.heard())
		}
		require.NoError(t, me.SetPresence(ctx, me.Principal, me.app, ""))
		require.NoError(t, me.SetNote(ctx, me.Principal, me.app, " Back at ten "))
		require.NoError(t, me.SetNote(ctx, me.Principal, me.app, ""))
		require.Equal(t, []string{"me clearUserPreferredPresence", "me setStatusMessage Back at ten", "me setStatusMessage"}, w.source.heard())

		me.settle()
		require.NoError(t, me.SetNote(ctx, me.Principal, me.app, "At lunch"))
		require.Equal(t, []string{"note updated"}, me.nextAny())
		require.NoError(t, me.SetPresence(ctx, me.Principal, me.app, mapping.PreferBusy))
		require.Equal(t, []string{"presence updated"}, me.nextAny())
		require.NoError(t, me.SetLocation(ctx, me.Principal, me.app, " Home "))
		require.Equal(t, []string{"location updated"}, me.nextAny())
		location, set, err := me.OwnLocation(ctx, me.app)
		require.NoError(t, err)
		require.True(t, set)
		require.Equal(t, "Home", location)
		_, p, err := me.OwnPresence(ctx, me.Principal, me.app)
		require.NoError(t, err)
		require.Equal(t, "At lunch", p.Note)
		require.Equal(t, mapping.Busy, p.Availability)

		requireReason(t, gateway.InvalidParameter, me.SetNote(ctx, me.Principal, me.app, strings.Repeat("n", gateway.MaxNote+1)))
		requireReason(t, gateway.InvalidParameter, me.SetLocation(ctx, me.Principal, me.app, strings.Repeat("l", gateway.MaxLocation+1)))
		requireReason(t, gateway.InvalidParameter, me.SetPresence(ctx, me.Principal, me.app, "Asleep"))
	})
}

func TestSigningInAsSomethingPrefersItAfterTheSessionBegan(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		w.client("me").available(mapping.PreferDoNotDisturb)
		require.Equal(t, []string{there, "me setUserPreferredPresence DoNotDisturb DoNotDisturb"}, w.source.heard())
	})
}

func TestWithoutPermissionPresenceIsReadOnly(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		w.source.arrange(func() { w.source.readOnly = true })
		me, ctx := w.client("me"), t.Context()
		me.available("")
		standing, err := me.Standing(ctx, me.Principal, me.app)
		require.NoError(t, err)
		require.False(t, standing.Publishes)
		require.Equal(t, []string{"communication updated", "me updated", "location added"}, me.next())
		me.active()
		requireReason(t, gateway.Forbidden, me.SetPresence(ctx, me.Principal, me.app, mapping.PreferBusy))
		requireReason(t, gateway.Forbidden, me.SetNote(ctx, me.Principal, me.app, "x"))
		require.NoError(t, me.SetLocation(ctx, me.Principal, me.app, "Home"))
		_, p, err := me.OwnPresence(ctx, me.Principal, me.app)
		require.NoError(t, err, "reading needs no permission to write")
		require.Equal(t, mapping.Online, p.Availability)
		pass(10 * time.Minute)
		require.NoError(t, me.DeleteApplication(ctx, me.Principal, me.app.ID, ""))
		synctest.Wait()
		require.Empty(t, w.source.heard())
	})
}

func TestAnOperatorsReadOnlyGatewaySaysNothing(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me := w.client("me")
		me.available(mapping.PreferBusy)
		for range 20 {
			pass(time.Minute)
			me.active()
		}
		requireReason(t, gateway.Forbidden, me.SetPresence(t.Context(), me.Principal, me.app, mapping.PreferBusy))
		require.NoError(t, me.DeleteApplication(t.Context(), me.Principal, me.app.ID, ""))
		pass(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, w.source.heard(), "although the permission is there")
	}, func(s *settings) { s.ReadOnly = true })
}

func TestWhatGraphRefusesIsTheClientsParameter(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me := w.client("me")
		me.available("")
		w.source.failOne(mapping.MethodSetStatusMessage, graph(graphsrc.KindInvalid))
		e := requireReason(t, gateway.InvalidParameter, me.SetNote(t.Context(), me.Principal, me.app, "x"))
		require.Equal(t, "message", e.Parameters[0].Name)
	})
}

func TestAnOutageDelaysWhatIsPublishedAndLosesNothing(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		w.source.failOne(mapping.MethodSetPresence, graph(graphsrc.KindUnavailable))
		me.available(mapping.PreferAway)
		requireReason(t, gateway.Unavailable, me.SetPresence(ctx, me.Principal, me.app, mapping.PreferBusy))
		require.Empty(t, w.source.heard(), "a preference has no effect without a session")
		pass(time.Minute)
		w.source.failOne(mapping.MethodSetPresence, nil)
		pass(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{there, "me setUserPreferredPresence Away Away"}, w.source.heard())

		w.source.failOne(mapping.MethodClearPresence, graph(graphsrc.KindThrottled))
		require.NoError(t, me.DeleteApplication(ctx, me.Principal, me.app.ID, ""))
		pass(10 * time.Second)
		w.source.failOne(mapping.MethodClearPresence, nil)
		pass(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"me clearPresence"}, w.source.heard())
	})
}

func TestWhoComesBackBeforeTheEndWasSaidIsNotEnded(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me := w.client("me")
		me.available("")
		w.source.heard()
		w.source.failOne(mapping.MethodClearPresence, graph(graphsrc.KindUnavailable))
		require.NoError(t, me.DeleteApplication(t.Context(), me.Principal, me.app.ID, ""))
		synctest.Wait()
		w.client("me").available("")
		w.source.failOne(mapping.MethodClearPresence, nil)
		pass(10 * time.Minute)
		synctest.Wait()
		require.NotContains(t, w.source.heard(), "me clearPresence", "the session at the source goes on")
	})
}

func TestCommunicationCanBeReplaced(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		t := w.t
		me, ctx := w.client("me"), t.Context()
		was, err := me.Standing(ctx, me.Principal, me.app)
		require.NoError(t, err)
		require.NoError(t, me.SetCommunication(ctx, me.app, was.Communication, gateway.Communication{Modalities: []string{"PhoneAudio", "phoneaudio"}, AudioPreference: "voipaudio"}))
		require.Equal(t, []string{"communication updated"}, me.next())
		standing, err := me.Standing(ctx, me.Principal, me.app)
		require.NoError(t, err)
		require.Equal(t, []string{"PhoneAudio"}, standing.Communication.Modalities)
		require.Equal(t, "VoipAudio", standing.Communication.AudioPreference)
		require.Equal(t, []string{"Plain"}, standing.Communication.Formats)
		requireReason(t, gateway.Changed, me.SetCommunication(ctx, me.app, was.Communication, gateway.Communication{}))
		e := requireReason(t, gateway.InvalidParameter, me.SetCommunication(ctx, me.app, standing.Communication, gateway.Communication{
			Modalities: []string{"Smoke"}, MessageFormats: []string{"Morse"}, AudioPreference: "Loud", PhoneNumber: strings.Repeat("1", 101),
		}))
		require.Len(t, e.Parameters, 4)
	})
}
