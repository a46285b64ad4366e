package gateway_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
)

// teams lets the user "me" belong to the group "team" of some people.
func teams(w *world, members ...string) {
	w.source.arrange(func() {
		w.source.joined["id-me"] = []graphsrc.Group{{ID: "team", DisplayName: "Team", Mail: "team@contoso.com", Unified: true}}
		w.source.groups["team"] = users(members...)
	})
}

func users(names ...string) []graphsrc.User {
	list := make([]graphsrc.User, len(names))
	for i, n := range names {
		list[i] = user(n)
	}
	return list
}

func withGroups(s *settings) { s.Contacts.Groups = true }

func TestASubscriptionOfAGroupFollowsItsMembers(t *testing.T) {
	inBubble(t, "me ana bo cy", func(w *world) {
		teams(w, "ana", "bo", "me")
		me, ctx := w.client("me"), w.t.Context()
		sub, err := w.SubscribeGroup(ctx, me.Principal, me.app, "TEAM", 10)
		require.NoError(w.t, err)
		require.Equal(w.t, "team", sub.ID)
		require.Equal(w.t, "team", sub.Group)
		require.Equal(w.t, []string{"ana@contoso.com", "bo@contoso.com"}, sub.Members, "without oneself")
		require.ElementsMatch(w.t, []string{
			"contact added ana in subscribedContacts", "contact added bo in subscribedContacts", "presenceSubscription added team",
			"contactPresence updated ana", "contactPresence updated bo",
		}, me.next())

		teams(w, "bo", "cy")
		events := me.next()
		require.Equal(w.t, []string{
			"contact deleted ana in subscribedContacts", "contact added cy in subscribedContacts", "contactPresence updated cy",
		}, events)
		require.Equal(w.t, []string{"id-bo", "id-cy"}, w.source.watched())

		// Subscribing again extends, and does not wait for the groups to be read.
		teams(w, "cy")
		again, err := w.SubscribeGroup(ctx, me.Principal, me.app, "team", 10)
		require.NoError(w.t, err)
		require.Equal(w.t, sub.Expires.Add(10*time.Minute), again.Expires)
		require.Equal(w.t, []string{"cy@contoso.com"}, again.Members)
		require.Equal(w.t, []string{"contact deleted bo in subscribedContacts"}, me.next())
		all, err := w.Subscriptions(ctx, me.app)
		require.NoError(w.t, err)
		require.Len(w.t, all, 1)

		_, err = w.AddMembers(ctx, me.app, "team", []string{"ana@contoso.com"})
		requireReason(w.t, gateway.Forbidden, err)
		require.NoError(w.t, w.RemoveMember(ctx, me.app, "team", "cy@contoso.com"))
		require.Equal(w.t, []string{"contact deleted cy in subscribedContacts"}, me.next())
		require.Empty(w.t, me.next(), "who was taken out stays out")
		_, err = w.SubscribeGroup(ctx, me.Principal, me.app, "none", 10)
		requireReason(w.t, gateway.NotFound, err)
	}, withGroups)
}

func TestWhatIsKnownOfAGroupStaysWhile(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(s *source)
	}{
		{"Graph is down", func(s *source) { s.fail(graph(graphsrc.KindUnavailable)) }},
		{"one of its questions fails", func(s *source) { s.failOne("GroupMembers", graph(graphsrc.KindTimeout)) }},
		{"it is too large to be shown", func(s *source) {
			s.arrange(func() { s.groups["team"] = users("a", "b", "c", "d", "e") })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana bo cy", func(w *world) {
				teams(w, "ana", "bo")
				me := w.client("me")
				_, err := w.SubscribeGroup(w.t.Context(), me.Principal, me.app, "team", 30)
				require.NoError(w.t, err)
				me.settle()
				c.fault(w.source)
				began := time.Now()
				require.Empty(w.t, me.next())
				require.Empty(w.t, me.next())
				require.Greater(w.t, time.Since(began), 5*time.Minute)

				w.source.fail(nil)
				w.source.failOne("GroupMembers", nil)
				teams(w, "bo", "cy")
				require.Equal(w.t, []string{
					"contact deleted ana in subscribedContacts", "contact added cy in subscribedContacts", "contactPresence updated cy",
				}, me.next(), "exactly the differences")
			}, withGroups, func(s *settings) { s.Limits.Contacts = 4 })
		})
	}
}

func TestAGroupThatIsGoneHasNoMembers(t *testing.T) {
	inBubble(t, "me ana bo", func(w *world) {
		teams(w, "ana", "bo")
		me := w.client("me")
		_, err := w.SubscribeGroup(w.t.Context(), me.Principal, me.app, "team", 30)
		require.NoError(w.t, err)
		me.settle()
		w.source.arrange(func() { w.source.joined = nil })
		require.Equal(w.t, []string{"contact deleted ana in subscribedContacts", "contact deleted bo in subscribedContacts"}, me.next())
	}, withGroups)
}

func TestGroupsAreReadOnlyForThoseWhoFollowThem(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *world, me *client)
	}{
		{"until they unsubscribe", func(w *world, me *client) {
			require.NoError(w.t, w.Unsubscribe(w.t.Context(), me.app, "team"))
		}},
		{"until their application ends", func(w *world, me *client) {
			require.NoError(w.t, w.DeleteApplication(w.t.Context(), me.Principal, me.app.ID, ""))
		}},
		{"until their subscription expires", func(*world, *client) { pass(30 * time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				teams(w, "ana")
				w.client("me").subscribe("ana")
				me := w.client("me")
				_, err := w.SubscribeGroup(w.t.Context(), me.Principal, me.app, "team", 30)
				require.NoError(w.t, err)
				before := w.source.count("GroupMembers")
				pass(3*time.Minute + time.Second)
				require.Equal(w.t, before+3, w.source.count("GroupMembers"))
				c.end(w, me)
				pass(2 * time.Minute)
				before, updates := w.source.count("GroupMembers"), w.store.updates.Load()
				pass(10 * time.Minute)
				require.Equal(w.t, before, w.source.count("GroupMembers"))
				require.Less(w.t, w.store.updates.Load()-updates, int64(5), "nor is the application asked about it each time")
			}, withGroups)
		})
	}
}

func TestWhoBeginsToFollowAGroupWhileGroupsAreReadIsNotForgotten(t *testing.T) {
	var store *interrupted
	inBubble(t, "me ana bo", func(w *world) {
		teams(w, "ana")
		me, ctx := w.client("me"), w.t.Context()
		_, err := w.StartContactsAndGroups(ctx, me.Principal, me.app, 30)
		require.NoError(w.t, err)
		require.NoError(w.t, w.StopContactsAndGroups(ctx, me.app))
		// The next reading finds that the application follows nothing; before it
		// can act on that, the client subscribes.
		subscribed := make(chan error, 1)
		subscribe := func() {
			_, err := w.SubscribeGroup(ctx, me.Principal, me.app, "team", 30)
			subscribed <- err
		}
		store.after.Store(&subscribe)
		require.NoError(w.t, <-subscribed)
		me.settle()
		teams(w, "bo")
		require.Equal(w.t, []string{
			"contact deleted ana in subscribedContacts", "contact added bo in subscribedContacts", "contactPresence updated bo",
		}, me.next())
	}, withGroups, func(s *settings) {
		s.wrap = func(inner gateway.Store) gateway.Store {
			store = &interrupted{Store: inner}
			return store
		}
	})
}

// interrupted is a store that does something once, right after an update.
type interrupted struct {
	gateway.Store
	after atomic.Pointer[func()]
}

func (i *interrupted) Update(ctx context.Context, id string, f func(*session.Session) error) error {
	err := i.Store.Update(ctx, id, f)
	if after := i.after.Swap(nil); after != nil {
		(*after)()
	}
	return err
}

func TestTheContactListTellsWhoComesAndGoes(t *testing.T) {
	inBubble(t, "me ana bo cy di", func(w *world) {
		w.source.arrange(func() {
			w.source.folders["id-me"] = []graphsrc.ContactFolder{{ID: "F1", DisplayName: "Friends"}}
			w.source.contacts["id-me/F1"] = mail("ana")
			w.source.reports["id-me"] = users("bo")
		})
		teams(w, "cy")
		me, ctx := w.client("me"), w.t.Context()
		state, err := w.ContactsAndGroups(ctx, me.app)
		require.NoError(w.t, err)
		require.Equal(w.t, gateway.ContactsAndGroups{}, state)
		began := time.Now().UTC()
		state, err = w.StartContactsAndGroups(ctx, me.Principal, me.app, 20)
		require.NoError(w.t, err)
		require.Equal(w.t, gateway.ContactsAndGroups{Active: true, Expires: began.Add(20 * time.Minute)}, state)
		require.Empty(w.t, me.next(), "what is there is no event")
		friends, err := w.Groups(ctx, me.Principal)
		require.NoError(w.t, err)
		id := friends[3].ID

		for _, step := range []struct {
			name   string
			change func()
			want   []string
		}{
			{"a contact moves from one list to another", func() {
				w.source.contacts["id-me/F1"] = mail("bo")
				w.source.reports["id-me"] = users("ana")
			}, []string{
				"contact deleted bo in myOrganizationGroup organization", "contact deleted ana in group " + id,
				"contact added ana in myOrganizationGroup organization", "contact added bo in group " + id,
			}},
			{"a contact is new", func() { w.source.contacts["id-me/F1"] = mail("bo", "di") }, []string{
				"contact added di in myContacts", "contact added di in group " + id,
			}},
			{"a member of a distribution group is no contact", func() { w.source.groups["team"] = users("cy", "di") }, []string{
				"distributionGroup updated team",
			}},
			{"a group is renamed", func() { w.source.folders["id-me"][0].DisplayName = "Pals" }, []string{"group updated " + id}},
			{"a group is gone with its contacts", func() { w.source.folders["id-me"] = nil }, []string{
				"contact deleted bo in group " + id, "contact deleted di in group " + id,
				"contact deleted bo in myContacts", "contact deleted di in myContacts", "group deleted " + id + " in myGroups",
			}},
			{"a group is new", func() {
				w.source.joined["id-me"] = append(w.source.joined["id-me"], graphsrc.Group{ID: "Two", Mail: "two@contoso.com", Unified: true})
				w.source.groups["Two"] = users("bo")
			}, []string{"distributionGroup added two in myGroups"}},
		} {
			p := me.pget(session.Poll{})
			require.True(w.t, p.parked(), step.name)
			w.source.arrange(step.change)
			<-p.done
			require.NoError(w.t, p.err)
			require.Equal(w.t, step.want, said(p.pack), step.name)
			me.ack = p.pack.NextAck
		}
		require.Equal(w.t, []string{"myContactsAndGroupsSubscription updated"}, said(me.fetch(session.Poll{Timeout: session.MaxTimer})))
		require.WithinDuration(w.t, began.Add(18*time.Minute), time.Now(), 7*time.Second)
		state, err = w.StartContactsAndGroups(ctx, me.Principal, me.app, 60)
		require.NoError(w.t, err)
		require.Equal(w.t, time.Now().Add(time.Hour).UTC(), state.Expires)
		require.NoError(w.t, w.StopContactsAndGroups(ctx, me.app))
		w.source.arrange(func() { w.source.groups["team"] = nil })
		require.Empty(w.t, said(me.fetch(session.Poll{Timeout: 3 * time.Minute})))
		state, err = w.ContactsAndGroups(ctx, me.app)
		require.NoError(w.t, err)
		require.False(w.t, state.Active)
	}, withGroups, func(s *settings) { s.Contacts.Organization, s.Contacts.ContactFolders = true, true })
}

func TestAContactListWithATooLargeGroupIsFollowedAllTheSame(t *testing.T) {
	inBubble(t, "me ana bo", func(w *world) {
		teams(w, "a", "b", "c")
		me, ctx := w.client("me"), w.t.Context()
		group, err := w.Group(ctx, me.Principal, "team")
		require.NoError(w.t, err)
		_, err = w.GroupContacts(ctx, me.Principal, group)
		requireReason(w.t, gateway.TooManyContacts, err)
		_, err = w.SubscribeGroup(ctx, me.Principal, me.app, "team", 10)
		requireReason(w.t, gateway.TooManyContacts, err)
		_, err = w.StartContactsAndGroups(ctx, me.Principal, me.app, 30)
		require.NoError(w.t, err)
		w.source.arrange(func() { w.source.frequent["id-me"] = mail("ana") })
		require.Equal(w.t, []string{"contact added ana in myContacts", "contact added ana in defaultGroup default"}, me.next())
	}, withGroups, func(s *settings) { s.Limits.Contacts, s.Contacts.Default = 2, gateway.FromPeople })
}

func TestAContactListThatCannotBeReadIsNotStarted(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		w.source.failOne("MemberOf", graph(graphsrc.KindThrottled))
		_, err := w.StartContactsAndGroups(ctx, me.Principal, me.app, 30)
		requireReason(w.t, gateway.Unavailable, err)
		_, err = w.SubscribeGroup(ctx, me.Principal, me.app, "default", 30)
		requireReason(w.t, gateway.Unavailable, err)
		w.source.failOne("MemberOf", graph(graphsrc.KindForbidden))
		_, err = w.StartContactsAndGroups(ctx, me.Principal, me.app, 30)
		require.NoError(w.t, err, "what is not permitted hides")
		synctest.Wait()
	}, withGroups)
}

// mail returns entries of a mailbox for people, one of them with another
// address first.
func mail(names ...string) []graphsrc.MailboxContact {
	var list []graphsrc.MailboxContact
	for _, n := range names {
		list = append(list, graphsrc.MailboxContact{DisplayName: strings.ToUpper(n), Addresses: []string{n + "@elsewhere.example", address(n)}})
	}
	return list
}
