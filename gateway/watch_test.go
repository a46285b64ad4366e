package gateway_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

func TestNoChangeIsLostWhileAnAddressIsLookedUp(t *testing.T) {
	throttled := graph(graphsrc.KindThrottled)
	throttled.RetryAfter = 45 * time.Second
	for _, c := range []struct {
		name  string
		begin func(s *source) // after the first reading, before the subscription
		mend  func(s *source)
		heals time.Duration // when mend is called
		found time.Duration // when the person is watched
	}{
		{"that is slow", func(s *source) { s.slow["ana@contoso.com"] = 3 * time.Second }, nil, 0, 3 * time.Second},
		{
			"that fails twice", func(s *source) { s.fault["ana@contoso.com"] = graph(graphsrc.KindUnavailable) },
			func(s *source) { s.failOne("ana@contoso.com", nil) }, 15 * time.Second, 30 * time.Second,
		},
		{
			"that is throttled", func(s *source) { s.fault["ana@contoso.com"] = throttled },
			func(s *source) { s.failOne("ana@contoso.com", nil) }, 10 * time.Second, 45 * time.Second,
		},
		{
			"that finds nobody at first", func(s *source) { delete(s.users, "ana@contoso.com") },
			func(s *source) { s.arrange(func() { s.users["ana@contoso.com"] = user("ana") }) }, time.Minute, 5 * time.Minute,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me, you := w.client("me"), w.client("me")
				_, before, err := w.Presence(w.t.Context(), me.app, "ana@contoso.com")
				require.NoError(w.t, err)
				require.Equal(w.t, mapping.Online, before.Availability)
				w.source.arrange(func() { c.begin(w.source) })
				began := time.Now()
				me.subscribe("ana")
				you.subscribe("ana")
				pass(c.heals)
				if c.mend != nil {
					c.mend(w.source)
				}
				require.Empty(w.t, w.source.watched())

				// Somebody else's question teaches the source the new presence, so
				// that it is no change any more once the person is watched.
				w.source.set(mapping.Presence{Availability: "Offline", Activity: "Offline", StatusMessage: "Bye", WorkLocation: "remote"}, "ana")
				_, err = w.source.Presence(w.t.Context(), "id-ana")
				require.NoError(w.t, err)
				pass(time.Until(began.Add(c.found)) - time.Millisecond)
				require.Empty(w.t, w.source.watched())
				pass(time.Millisecond)
				synctest.Wait()
				require.Equal(w.t, []string{"id-ana"}, w.source.watched())
				for _, client := range []*client{me, you} {
					var events []string
					for e := client.next(); len(e) > 0; e = client.next() {
						events = append(events, e...)
					}
					require.Subset(w.t, events, []string{
						"contactPresence updated ana", "contactNote updated ana", "contactLocation updated ana", "contactSupportedModalities updated ana",
					})
				}
			})
		})
	}
}

func TestNobodyLooksAgainForASourceThatRecounts(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.recounts.Store(true)
		w.source.arrange(func() { w.source.slow["ana@contoso.com"] = 10 * time.Second })
		me := w.client("me")
		me.subscribe("ana")
		for len(me.next()) > 0 { // the subscription's own
		}
		pass(15 * time.Second)
		synctest.Wait()
		require.Equal(w.t, []string{"id-ana"}, w.source.watched())
		require.Empty(w.t, me.next())
	})
}

func TestWhomTheSourceRemembersIsWatchedWithoutALookUp(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.arrange(func() {
			w.source.remembered["ana@contoso.com"] = true
			w.source.slow["ana@contoso.com"] = time.Hour
		})
		me := w.client("me")
		sub := me.subscribe("ana")
		require.Equal(w.t, []string{"id-ana"}, w.source.watched(), "before anything else happens")
		me.settle()
		w.source.say("Busy", "ana")
		require.Equal(w.t, []string{"contactPresence updated ana"}, me.next())
		require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, sub.ID))
		require.Empty(w.t, w.source.watched())
		require.Zero(w.t, w.source.count("ana@contoso.com"))
	})
}

func TestAnAnswerToSomebodyElseEndsTheWaitOfAnAddress(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(s *source)
	}{
		{"for its look-up", func(s *source) { s.slow["ana@contoso.com"] = time.Minute }},
		{"for another try", func(s *source) { s.fault["ana@contoso.com"] = graph(graphsrc.KindNotFound) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me := w.client("me")
				w.source.arrange(func() { c.begin(w.source) })
				sub := me.subscribe("ana")
				pass(3 * time.Second)
				require.Empty(w.t, w.source.watched())
				w.source.arrange(func() {
					clear(w.source.slow)
					clear(w.source.fault)
				})
				_, err := w.Person(w.t.Context(), me.Principal, "ana@contoso.com")
				require.NoError(w.t, err)
				require.Equal(w.t, []string{"id-ana"}, w.source.watched())
				require.Subset(w.t, me.next(), []string{
					"contactPresence updated ana", "contactNote updated ana", "contactLocation updated ana", "contactSupportedModalities updated ana",
				})
				pass(6 * time.Minute) // what was under way or due ends without a trace
				require.Equal(w.t, []string{"id-ana"}, w.source.watched())
				require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, sub.ID))
				require.Empty(w.t, w.source.watched())
			})
		})
	}
}

func TestPausesBetweenLookUpsGrow(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.failOne("ana@contoso.com", graph(graphsrc.KindTimeout))
		w.client("me").subscribe("ana")
		synctest.Wait()
		for i, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
			require.Equal(w.t, i+1, w.source.count("ana@contoso.com"))
			pass(pause*time.Second - time.Millisecond)
			synctest.Wait()
			require.Equal(w.t, i+1, w.source.count("ana@contoso.com"))
			pass(time.Millisecond)
			synctest.Wait()
		}
	})
}

func TestAnAddressNobodyHasIsOfflineForItsSubscriberOnly(t *testing.T) {
	for _, nobody := range []string{"nobody@contoso.com", "somebody@elsewhere.example"} {
		t.Run(nobody, func(t *testing.T) {
			inBubble(t, "me", func(w *world) {
				me, other, ctx := w.client("me"), w.client("me"), w.t.Context()
				sub := me.subscribe(nobody)
				require.Equal(w.t, []string{"contact added", "presenceSubscription added", "contactPresence updated"}, shorten(me.next()))
				clean, p, err := w.Presence(ctx, me.app, "SIP:"+nobody)
				require.NoError(w.t, err)
				require.Equal(w.t, nobody, clean)
				require.Equal(w.t, mapping.Offline, p.Availability)
				require.Empty(w.t, p.Note)
				who, err := w.Contact(ctx, me.app, me.Principal, nobody)
				require.NoError(w.t, err)
				require.Equal(w.t, gateway.Person{Address: nobody, URI: "sip:" + nobody, Name: nobody, Unknown: true}, who)
				p, err = w.PresenceOf(ctx, gateway.Application{}, who)
				require.NoError(w.t, err)
				require.Equal(w.t, mapping.Offline, p.Availability)

				_, _, err = w.Presence(ctx, other.app, nobody)
				requireReason(w.t, gateway.DestinationNotFound, err)
				_, err = w.Contact(ctx, other.app, other.Principal, nobody)
				requireReason(w.t, gateway.DestinationNotFound, err)
				require.Empty(w.t, me.next(), "nothing happens to somebody who does not exist")

				require.NoError(w.t, w.Unsubscribe(ctx, me.app, sub.ID))
				_, _, err = w.Presence(ctx, me.app, nobody)
				requireReason(w.t, gateway.DestinationNotFound, err)
			})
		})
	}
}

func TestAChangeForSomeApplicationsIsToldToThemAlone(t *testing.T) {
	inBubble(t, "me you", func(w *world) {
		me, other, gone := w.client("me"), w.client("me"), w.client("me")
		for _, c := range []*client{me, other, gone} {
			c.subscribe("you@contoso.com")
			c.next()
		}
		require.NoError(w.t, w.DeleteApplication(w.t.Context(), gone.Principal, gone.app.ID, ""))
		now := graphsrc.Reading{Presence: graphsrc.Presence{ID: "id-you", Words: mapping.Presence{Availability: "Busy", Activity: "Busy"}}, ReadAt: time.Now()}
		require.NoError(w.t, w.source.changed(graphsrc.Change{ID: "id-you", After: now, Unsure: true, To: []string{me.app.ID, gone.app.ID, "nobody"}}))
		require.Contains(w.t, shorten(me.next()), "contactPresence updated")
		require.Empty(w.t, other.next())
	})
}

// shorten leaves of each event what happened to what.
func shorten(events []string) []string {
	out := make([]string, len(events))
	for i, e := range events {
		n := 0
		for j, r := range e + " " {
			if r == ' ' {
				if n++; n == 2 {
					out[i] = e[:j]
					break
				}
			}
		}
	}
	return out
}

func TestAPersonNobodySubscribesToAnyMoreIsNotWatched(t *testing.T) {
	quiet := func(me *client) { // used the channel, and goes silent
		p := me.pget(session.Poll{})
		p.cancel()
		<-p.done
	}
	for _, c := range []struct {
		name   string
		end    func(w *world, me *client, sub session.Subscription)
		change func(*settings)
	}{
		{"because the subscription was deleted", func(w *world, me *client, sub session.Subscription) {
			require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, sub.ID))
		}, nil},
		{"because the members were taken out", func(w *world, me *client, sub session.Subscription) {
			for _, a := range sub.Members {
				require.NoError(w.t, w.RemoveMember(w.t.Context(), me.app, sub.ID, a))
			}
		}, nil},
		{"because the subscription expired", func(*world, *client, session.Subscription) { pass(30*time.Minute + 2*time.Second) }, nil},
		{"because the application was deleted", func(w *world, me *client, _ session.Subscription) {
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, ""))
		}, nil},
		{"because the last instance was deleted", func(w *world, me *client, _ session.Subscription) {
			tab := w.endpoint("me", me.app.EndpointID, "tab", "en-US")
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, "tab"))
			require.NotEmpty(w.t, w.source.watched(), "one channel remains")
			tab.instance = ""
			_, err := w.Position(w.t.Context(), me.app, "tab")
			requireReason(w.t, gateway.NotFound, err)
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, ""))
		}, nil},
		{"because newer applications pushed it out", func(w *world, _ *client, _ session.Subscription) {
			w.client("me")
			w.client("me")
		}, func(s *settings) { s.Limits.ApplicationsPerUser = 2 }},
		{"because the application was replaced", func(w *world, me *client, _ session.Subscription) {
			w.endpoint("me", me.app.EndpointID, "", "de-DE")
		}, nil},
		{"because the client was silent for ten minutes", func(_ *world, me *client, _ session.Subscription) {
			quiet(me)
			pass(10*time.Minute + 2*time.Second)
		}, nil},
		{"because the application expired", func(_ *world, me *client, _ session.Subscription) {
			quiet(me)
			pass(15*time.Minute + 2*time.Second)
		}, func(s *settings) { s.Limits.Session.SoftReset = 20 * time.Minute }},
		{
			"because nobody used the application", func(*world, *client, session.Subscription) { pass(12 * time.Minute) },
			func(s *settings) { s.memory.Idle = 10 * time.Minute },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana bo", func(w *world) {
				me := w.client("me")
				sub := me.subscribe("ana", "bo")
				synctest.Wait()
				require.Equal(w.t, []string{"id-ana", "id-bo"}, w.source.watched())
				c.end(w, me, sub)
				synctest.Wait()
				require.Empty(w.t, w.source.watched())
			}, func(s *settings) {
				if c.change != nil {
					c.change(s)
				}
			})
		})
	}
}

func TestAPersonIsWatchedAsLongAsOneAddressIs(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		w.source.hire("ana", "alias@contoso.com", "third@contoso.net")
		me, you := w.client("me"), w.client("me")
		one := me.subscribe("ana")
		synctest.Wait() // each is found before the next
		two := me.subscribe("alias")
		synctest.Wait()
		three := you.subscribe("third@contoso.net")
		me.settle()
		you.settle()
		end := func(c *client, sub session.Subscription) {
			require.NoError(w.t, w.Unsubscribe(w.t.Context(), c.app, sub.ID))
		}
		end(me, two)
		me.settle()
		w.source.say("Away", "ana")
		require.Equal(w.t, []string{"contactPresence updated ana"}, me.next())
		require.Equal(w.t, []string{"contactPresence updated third@contoso.net"}, you.next())
		end(me, one)
		require.Equal(w.t, []string{"id-ana"}, w.source.watched())
		w.source.say("Busy", "ana")
		require.Equal(w.t, []string{"contactPresence updated third@contoso.net"}, you.next())
		end(you, three)
		require.Empty(w.t, w.source.watched())
		w.source.say("Away", "ana")
		require.Equal(w.t, []string{"contact deleted third@contoso.net in subscribedContacts", "presenceSubscription deleted"}, you.next())
		me.subscribe("ana")
		synctest.Wait()
		require.Equal(w.t, []string{"id-ana"}, w.source.watched())
	})
}

func TestALookUpThatIsNotNeededAnyMoreLeavesNothingBehind(t *testing.T) {
	inBubble(t, "me ana bo", func(w *world) {
		w.source.arrange(func() {
			w.source.slow["ana@contoso.com"] = 20 * time.Second
			w.source.fault["bo@contoso.com"] = graph(graphsrc.KindUnavailable)
		})
		me := w.client("me")
		sub := me.subscribe("ana", "bo")
		pass(5 * time.Second) // ana is being looked up, bo waits for another try
		require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, sub.ID))
		again := me.subscribe("ana") // a new interest must not be mistaken for the old one
		pass(16 * time.Second)
		synctest.Wait()
		require.Empty(w.t, w.source.watched(), "the first look-up came for one who had left")
		pass(5 * time.Second)
		synctest.Wait()
		require.Equal(w.t, []string{"id-ana"}, w.source.watched())
		require.Equal(w.t, 1, w.source.count("bo@contoso.com"))
		require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, again.ID))
		require.Empty(w.t, w.source.watched())
	})
}
