package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

func TestTheFirstPackageAfterASubscriptionComesAfterTheMediumTimer(t *testing.T) {
	for _, c := range []struct {
		name   string
		poll   session.Poll
		parked bool // the P-GET waits before the subscription is made
		want   time.Duration
	}{
		{"of five seconds by default", session.Poll{}, false, 5 * time.Second},
		{"that the client set", session.Poll{Medium: 12 * time.Second}, false, 12 * time.Second},
		{"also for a P-GET that waits already", session.Poll{}, true, 5 * time.Second},
		{"that is too short and taken as the shortest", session.Poll{Medium: time.Second}, true, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana bo", func(w *world) {
				me := w.client("me")
				var p *pget
				if c.parked {
					p = me.pget(c.poll)
				}
				began := time.Now()
				me.subscribe("ana", "bo")
				if !c.parked {
					p = me.pget(c.poll)
				}
				<-p.done
				require.NoError(w.t, p.err)
				require.Equal(w.t, c.want, time.Since(began))
				events := said(p.pack)
				require.Len(w.t, events, 5)
				require.Equal(w.t, []string{
					"contact added ana in subscribedContacts", "contact added bo in subscribedContacts", "presenceSubscription added",
				}, events[:3])
				require.ElementsMatch(w.t, []string{"contactPresence updated ana", "contactPresence updated bo"}, events[3:])
				require.Equal(w.t, session.Next, p.pack.Rel)
				me.ack = p.pack.NextAck
				require.Empty(w.t, me.next(), "nothing comes twice")
			})
		})
	}
}

func TestAnAddressIsReadAsClientsWriteIt(t *testing.T) {
	for _, c := range []struct {
		name string
		uris []string
		want []string
	}{
		{"with and without a scheme, in any case", []string{"sip:Ana@Contoso.com", "SIP: bo@contoso.com", `"cy@contoso.com"`}, []string{"ana@contoso.com", "bo@contoso.com", "cy@contoso.com"}},
		{"twice is once", []string{"ana@contoso.com", "sip:ANA@contoso.com"}, []string{"ana@contoso.com"}},
		{"a bad one does not fail the others", []string{"nonsense", "", "ana@contoso.com", "tel:+123", strings.Repeat("x", 251) + "@contoso.com"}, []string{"ana@contoso.com"}},
		{"nobody's is accepted", []string{"nobody@contoso.com", "who@elsewhere.example"}, []string{"nobody@contoso.com", "who@elsewhere.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana bo cy", func(w *world) {
				me := w.client("me")
				sub, err := w.Subscribe(w.t.Context(), me.app, c.uris, 10)
				require.NoError(w.t, err)
				require.Equal(w.t, c.want, sub.Members)
				all, err := w.Subscribed(w.t.Context(), me.app)
				require.NoError(w.t, err)
				require.Equal(w.t, c.want, all)
			})
		})
	}
}

func TestASubscriptionThatMakesNoSenseIsRefusedAndNamesTheParameter(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me := w.client("me")
		ctx, uris := w.t.Context(), []string{"ana@contoso.com"}
		sub := me.subscribe("ana")
		second := func(_ any, err error) error { return err }
		for _, c := range []struct {
			name, parameter string
			err             error
		}{
			{"too short", "duration", second(w.Subscribe(ctx, me.app, uris, 9))},
			{"too long", "duration", second(w.Subscribe(ctx, me.app, uris, 31))},
			{"without people", "uris", second(w.Subscribe(ctx, me.app, nil, 10))},
			{"with no address at all", "uris", second(w.Subscribe(ctx, me.app, []string{"x", "y"}, 10))},
			{"of a group, too long", "duration", second(w.SubscribeGroup(ctx, me.Principal, me.app, "default", 31))},
			{"extended by too much", "duration", second(w.Extend(ctx, me.app, sub.ID, 31))},
			{"with more members that are none", "contactUris", second(w.AddMembers(ctx, me.app, sub.ID, []string{"x"}))},
			{"to contacts and groups, too short", "duration", second(w.StartContactsAndGroups(ctx, me.Principal, me.app, 9))},
			{"to contacts and groups, too long", "duration", second(w.StartContactsAndGroups(ctx, me.Principal, me.app, 61))},
		} {
			e := requireReason(w.t, gateway.InvalidParameter, c.err)
			require.Len(w.t, e.Parameters, 1, c.name)
			require.Equal(w.t, c.parameter, e.Parameters[0].Name, c.name)
		}
		require.NoError(w.t, second(w.StartContactsAndGroups(ctx, me.Principal, me.app, 60)))
	})
}

func TestMembersComeAndGo(t *testing.T) {
	inBubble(t, "me ana bo cy", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		first, second := me.subscribe("ana", "bo"), me.subscribe("bo")
		me.settle()
		added, err := w.AddMembers(ctx, me.app, first.ID, []string{"sip:cy@contoso.com", "ana@contoso.com", "nonsense"})
		require.NoError(w.t, err)
		require.Equal(w.t, []string{"cy@contoso.com"}, added)
		require.Equal(w.t, []string{"contact added cy in subscribedContacts", "contactPresence updated cy"}, me.next())

		require.NoError(w.t, w.RemoveMember(ctx, me.app, first.ID, "bo@contoso.com"))
		require.Empty(w.t, me.next(), "another subscription holds the contact")
		require.Equal(w.t, []string{"id-ana", "id-bo", "id-cy"}, w.source.watched())
		require.NoError(w.t, w.RemoveMember(ctx, me.app, second.ID, "bo@contoso.com"))
		require.Equal(w.t, []string{"contact deleted bo in subscribedContacts"}, me.next())
		require.Equal(w.t, []string{"id-ana", "id-cy"}, w.source.watched())
		requireReason(w.t, gateway.NotFound, w.RemoveMember(ctx, me.app, second.ID, "bo@contoso.com"))

		subs, err := w.Subscriptions(ctx, me.app)
		require.NoError(w.t, err)
		require.Len(w.t, subs, 2)
		require.Equal(w.t, []string{"ana@contoso.com", "cy@contoso.com"}, subs[0].Members)
		require.Empty(w.t, subs[1].Members)
		require.NoError(w.t, w.Unsubscribe(ctx, me.app, first.ID))
		require.ElementsMatch(w.t, []string{
			"contact deleted ana in subscribedContacts", "contact deleted cy in subscribedContacts", "presenceSubscription deleted",
		}, me.next())
		requireReason(w.t, gateway.NotFound, w.Unsubscribe(ctx, me.app, first.ID))
		_, err = w.AddMembers(ctx, me.app, first.ID, []string{"ana@contoso.com"})
		requireReason(w.t, gateway.NotFound, err)
	})
}

func TestASubscriptionWarnsBeforeItExpires(t *testing.T) {
	for _, c := range []struct {
		minutes int
		warned  time.Duration
	}{
		{10, 9 * time.Minute}, // a minute at the least
		{30, 27 * time.Minute},
	} {
		t.Run(fmt.Sprint(c.minutes, " minutes"), func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me, began := w.client("me"), time.Now()
				sub, err := w.Subscribe(w.t.Context(), me.app, []string{"ana@contoso.com"}, c.minutes)
				require.NoError(w.t, err)
				require.Equal(w.t, began.Add(time.Duration(c.minutes)*time.Minute).UTC(), sub.Expires)
				require.Len(w.t, me.next(), 3)
				long := session.Poll{Timeout: session.MaxTimer}
				require.Equal(w.t, []string{"presenceSubscription updated"}, said(me.fetch(long)))
				require.WithinDuration(w.t, began.Add(c.warned), time.Now(), 7*time.Second) // a tick and the medium timer
				require.Equal(w.t, []string{"contact deleted ana in subscribedContacts", "presenceSubscription deleted"}, me.next())
				require.WithinDuration(w.t, sub.Expires, time.Now(), 7*time.Second)
				require.Empty(w.t, w.source.watched())
				_, err = w.Extend(w.t.Context(), me.app, sub.ID, 10)
				requireReason(w.t, gateway.NotFound, err)
				_, err = w.Subscription(w.t.Context(), me.app, sub.ID)
				requireReason(w.t, gateway.NotFound, err)
			})
		})
	}
}

func TestAnExtendedSubscriptionWarnsAnewAndNeverHasMoreThanThirtyMinutes(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		sub, err := w.Subscribe(ctx, me.app, []string{"ana@contoso.com"}, 10)
		require.NoError(w.t, err)
		me.next()
		require.Equal(w.t, []string{"presenceSubscription updated"}, said(me.fetch(session.Poll{Timeout: session.MaxTimer})))
		longer, err := w.Extend(ctx, me.app, sub.ID, 10)
		require.NoError(w.t, err)
		require.Equal(w.t, sub.Expires.Add(10*time.Minute), longer.Expires)
		require.Equal(w.t, []string{"presenceSubscription updated"}, me.nextAny())
		require.WithinDuration(w.t, longer.Expires.Add(-time.Minute), time.Now(), 7*time.Second)
		longest, err := w.Extend(ctx, me.app, sub.ID, 30)
		require.NoError(w.t, err)
		require.Equal(w.t, time.Now().Add(30*time.Minute).UTC(), longest.Expires)
		got, err := w.Subscription(ctx, me.app, sub.ID)
		require.NoError(w.t, err)
		require.Equal(w.t, longest, got)
	})
}

func TestWhatOneApplicationMayHoldIsLimited(t *testing.T) {
	limits := func(s *settings) {
		s.Limits.Session = session.Limits{Subscriptions: 2, Members: 3, Channels: 2}
		s.Contacts.Pinned = func(string) []string {
			return []string{"a@contoso.com", "b@contoso.com", "c@contoso.com", "d@contoso.com"}
		}
	}
	inBubble(t, "me a b c d", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		four := []string{"a@contoso.com", "b@contoso.com", "c@contoso.com", "d@contoso.com"}
		_, err := w.Subscribe(ctx, me.app, four, 10)
		requireReason(w.t, gateway.LimitExceeded, err)
		_, err = w.SubscribeGroup(ctx, me.Principal, me.app, "pinned", 10)
		require.Contains(w.t, requireReason(w.t, gateway.LimitExceeded, err).Message, "2 presence subscriptions with 3 members")
		require.Empty(w.t, w.source.watched(), "a refusal leaves nothing behind")
		sub := me.subscribe("a", "b")
		_, err = w.AddMembers(ctx, me.app, sub.ID, []string{"c@contoso.com", "d@contoso.com"})
		requireReason(w.t, gateway.LimitExceeded, err)
		me.subscribe("a")
		_, err = w.Subscribe(ctx, me.app, four[:1], 10)
		requireReason(w.t, gateway.LimitExceeded, err)

		_, created, err := w.Channel(ctx, me.app, "one more")
		require.NoError(w.t, err)
		require.True(w.t, created)
		_, created, err = w.Channel(ctx, me.app, "one more")
		require.NoError(w.t, err)
		require.False(w.t, created)
		_, _, err = w.Channel(ctx, me.app, "one too many")
		requireReason(w.t, gateway.LimitExceeded, err)
	}, limits)
}

func TestARefusalNamesTheDefaultLimits(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		me := w.client("me")
		many := make([]string, 251)
		for i := range many {
			many[i] = fmt.Sprintf("p%d@contoso.com", i)
		}
		_, err := w.Subscribe(w.t.Context(), me.app, many, 10)
		require.Contains(w.t, requireReason(w.t, gateway.LimitExceeded, err).Message, "100 presence subscriptions with 250 members")
	})
}
