package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

var start = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func event(k session.Kind, t session.Type, c session.Class, key string) *session.Event {
	return &session.Event{Kind: k, Type: t, Class: c, Key: key}
}

func presence(key string) *session.Event {
	return event(session.ContactPresence, session.Updated, session.Medium, key)
}

// stored returns s after a round trip.
func stored(t require.TestingT, s *session.Session) *session.Session {
	b, err := s.MarshalBinary()
	require.NoError(t, err)
	var again session.Session
	require.NoError(t, again.UnmarshalBinary(b))
	require.Equal(t, s.Deadline(), again.Deadline())
	return &again
}

// words names events for comparison.
func words(events []*session.Event) []string {
	kinds := map[session.Kind]string{
		session.ContactPresence: "presence", session.PresenceSubscription: "subscription", session.Contact: "contact",
		session.Group: "group", session.ContactsAndGroupsSubscription: "contacts and groups",
		session.CommunicationResource: "communication", session.Me: "me", session.OwnPresence: "own presence", session.OwnNote: "own note", session.OwnLocation: "own location",
	}
	lists := map[session.In]string{session.SubscribedContacts: " in subscribed", session.MyContacts: " in myContacts", session.MyGroups: " in myGroups"}
	out := []string{}
	for _, e := range events {
		w := strings.TrimSpace(kinds[e.Kind]+" "+e.Key) + " " + e.Type.String() + lists[e.In]
		if e.In == session.InGroup {
			w += " in " + e.GroupRel + " " + e.Group
		}
		out = append(out, w)
	}
	return out
}

// arrive sends a P-GET that must be let in.
func arrive(t *testing.T, s *session.Session, ack int64, now time.Time) session.Verdict {
	t.Helper()
	v, err := s.Arrive("", session.Poll{Ack: ack}, now)
	require.NoError(t, err)
	return v
}

// drain takes what is queued, by a P-GET and its release.
func drain(t *testing.T, s *session.Session, now time.Time) []string {
	t.Helper()
	ack := s.Position("")
	v := arrive(t, s, ack, now)
	if v.Package == nil {
		v = s.Release("", v.Ticket, now)
	}
	require.NotNil(t, v.Package)
	p := arrive(t, s, v.Package.NextAck, now) // acknowledges
	s.Leave("", p.Ticket, now)
	return words(v.Package.Events)
}

func TestSubscriptionEventsComeInTheirFixedSequences(t *testing.T) {
	s := session.New(start, session.Limits{})
	_, err := s.Subscribe("s1", []string{"ana", "bo", "ana"}, 10*time.Minute, start)
	require.NoError(t, err)
	require.Equal(t, []string{
		"contact ana added in subscribed", "contact bo added in subscribed", "subscription s1 added", "presence ana updated", "presence bo updated",
	}, drain(t, s, start))

	_, err = s.Subscribe("s2", []string{"bo", "cy"}, 10*time.Minute, start)
	require.NoError(t, err)
	require.Equal(t, []string{"contact cy added in subscribed", "subscription s2 added", "presence bo updated", "presence cy updated"}, drain(t, s, start))
	require.Equal(t, []string{"ana", "bo", "cy"}, s.Subscribed())

	added, err := s.AddMembers("s1", []string{"bo", "cy", "dan"}, start)
	require.NoError(t, err)
	require.Equal(t, []string{"cy", "dan"}, added)
	require.Equal(t, []string{"contact dan added in subscribed", "presence cy updated", "presence dan updated"}, drain(t, s, start))

	require.NoError(t, s.RemoveMember("s1", "bo", start))
	require.NoError(t, s.RemoveMember("s1", "dan", start))
	require.ErrorIs(t, s.RemoveMember("s1", "dan", start), session.ErrNotFound)
	require.Equal(t, []string{"contact dan deleted in subscribed"}, drain(t, s, start))

	require.NoError(t, s.Unsubscribe("s1", start))
	require.ErrorIs(t, s.Unsubscribe("s1", start), session.ErrNotFound)
	require.Equal(t, []string{"contact ana deleted in subscribed", "subscription s1 deleted"}, drain(t, s, start))
}

func TestASubscriptionIsExtendedWarnedOfAndExpires(t *testing.T) {
	s := session.New(start, session.Limits{})
	sub, err := s.Subscribe("s", []string{"ana"}, 10*time.Minute, start)
	require.NoError(t, err)
	require.Equal(t, at(600), sub.Expires)
	require.Equal(t, at(540), s.Deadline(), "the warning comes a minute before")
	drain(t, s, start)
	v, err := s.Arrive("", session.Poll{Ack: s.Position(""), Timeout: session.MaxTimer}, start)
	require.NoError(t, err)
	require.NotZero(t, v.Ticket)

	require.False(t, s.Tick(at(540)))
	require.Equal(t, []session.Wake{{At: at(545)}}, s.TakeWakes(at(540)))
	require.False(t, s.Tick(at(541)), "the warning comes once")
	require.Equal(t, []string{"subscription s updated"}, words(s.Look("", v.Ticket, at(545)).Package.Events))

	sub, err = s.Extend("s", 20*time.Minute, at(545))
	require.NoError(t, err)
	require.Equal(t, at(600+1200), sub.Expires)
	sub, err = s.Extend("s", 30*time.Minute, at(545))
	require.NoError(t, err)
	require.Equal(t, at(545+1800), sub.Expires, "never more than half an hour")
	v = arrive(t, s, s.Position("")+1, at(550)) // stays parked: no silence
	require.Equal(t, at(545+1800-180), s.Deadline(), "a tenth of the duration asked for last")
	require.False(t, s.Tick(at(545+1800)))
	require.Equal(t, []string{"contact ana deleted in subscribed", "subscription s deleted"}, words(s.Release("", v.Ticket, at(545+1801)).Package.Events))
	_, err = s.Extend("s", 10*time.Minute, at(545+1802))
	require.ErrorIs(t, err, session.ErrNotFound)
}

func TestAGroupSubscriptionFollowsItsGroup(t *testing.T) {
	s := session.New(start, session.Limits{Members: 3})
	sub, created, err := s.SubscribeGroup("g", []string{"ana", "bo"}, 10*time.Minute, start)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, session.Subscription{ID: "g", Group: "g", Members: []string{"ana", "bo"}, Expires: at(600)}, sub)
	drain(t, s, start)
	_, err = s.AddMembers("g", []string{"cy"}, start)
	require.ErrorIs(t, err, session.ErrGroupSubscription)

	s.SetGroupMembers("g", []string{"bo", "cy"}, start)
	require.Equal(t, []string{"contact ana deleted in subscribed", "contact cy added in subscribed", "presence cy updated"}, drain(t, s, start))

	require.NoError(t, s.RemoveMember("g", "bo", start))
	s.SetGroupMembers("g", []string{"bo", "cy", "dan", "eve", "fay"}, start)
	sub, err = s.Subscription("g", start)
	require.NoError(t, err)
	require.Equal(t, []string{"cy", "dan", "eve"}, sub.Members, "who was taken out stays out, and the limit holds")

	sub, created, err = s.SubscribeGroup("g", []string{"bo", "cy"}, 10*time.Minute, at(60))
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, session.Subscription{ID: "g", Group: "g", Members: []string{"cy", "bo"}, Expires: at(1200)}, sub)
	_, _, err = s.SubscribeGroup("g", []string{"1", "2", "3", "4"}, 10*time.Minute, at(60))
	require.ErrorIs(t, err, session.ErrTooMany)
	require.Len(t, s.Subscriptions(at(60)), 1)
	s.SetGroupMembers("other", []string{"zoe"}, at(60))
	require.False(t, s.Watches("zoe"))
}

func TestLimitsRefuseTheWholeRequest(t *testing.T) {
	s := session.New(start, session.Limits{Subscriptions: 2, Members: 3, Channels: 2})
	_, err := s.Subscribe("s", []string{"1", "2", "3", "4"}, 10*time.Minute, start)
	require.ErrorIs(t, err, session.ErrTooMany)
	require.Empty(t, s.Subscriptions(start))
	_, err = s.Subscribe("s", []string{"1", "2", "2", "1"}, 10*time.Minute, start)
	require.NoError(t, err)
	_, err = s.Subscribe("s", []string{"1"}, 10*time.Minute, start)
	require.ErrorIs(t, err, session.ErrExists)
	_, err = s.AddMembers("s", []string{"2", "3", "4"}, start)
	require.ErrorIs(t, err, session.ErrTooMany)
	require.Equal(t, []string{"1", "2"}, s.Subscribed())
	_, _, err = s.SubscribeGroup("g", nil, 10*time.Minute, start)
	require.NoError(t, err)
	_, err = s.Subscribe("s2", []string{"1"}, 10*time.Minute, start)
	require.ErrorIs(t, err, session.ErrTooMany)
	_, err = s.OpenChannel("", start)
	require.NoError(t, err)
	created, err := s.OpenChannel("a", start)
	require.NoError(t, err)
	require.True(t, created)
	_, err = s.OpenChannel("b", start)
	require.ErrorIs(t, err, session.ErrTooMany)

	// One that nobody uses makes room for one that somebody needs.
	v, err := s.Arrive("a", session.Poll{Ack: 1}, start.Add(time.Minute))
	require.NoError(t, err)
	created, err = s.OpenChannel("b", start.Add(2*time.Minute))
	require.NoError(t, err)
	require.True(t, created)
	require.Zero(t, s.Position(""))
	require.Nil(t, s.Look("a", v.Ticket, start.Add(2*time.Minute)).Package, "a channel with a P-GET is in use")
}

func TestAWarningComesBeforeTheEndHoweverLongEventsAreHeldBack(t *testing.T) {
	for name, first := range map[string]bool{"timers set before the subscription": true, "and after it": false} {
		t.Run(name, func(t *testing.T) {
			s := session.New(start, session.Limits{})
			subscribe := func() {
				_, err := s.Subscribe("s", []string{"1"}, 10*time.Minute, start)
				require.NoError(t, err)
			}
			if !first {
				subscribe()
			}
			v, err := s.Arrive("", session.Poll{Ack: 1, Medium: 2 * time.Minute, Timeout: 20 * time.Minute}, start)
			require.NoError(t, err)
			if first {
				subscribe()
			}
			var told []string
			for now := start; now.Before(start.Add(10 * time.Minute)); now = now.Add(5 * time.Second) {
				s.Tick(now)
				if v = s.Look("", v.Ticket, now); v.Package != nil {
					for _, e := range v.Package.Events {
						if e.Kind == session.PresenceSubscription {
							told = append(told, e.Type.String())
						}
					}
					v, err = s.Arrive("", session.Poll{Ack: v.Package.NextAck}, now)
					require.NoError(t, err)
				}
			}
			require.Equal(t, []string{"added", "updated"}, told)
		})
	}
}

func TestContactsAndGroupsTellsWhoCameAndWent(t *testing.T) {
	s := session.New(start, session.Limits{})
	group := func(id, rel, name string, list bool, members ...string) session.RosterGroup {
		return session.RosterGroup{ID: id, Rel: rel, Name: name, List: list, Members: members}
	}
	s.SetRoster(session.Roster{Groups: []session.RosterGroup{group("1", "group", "One", true, "ana")}}, start)
	_, active := s.ContactsAndGroups(start)
	require.False(t, active)
	first := session.Roster{Groups: []session.RosterGroup{
		group("1", "group", "One", true, "ana", "bo"), group("2", "group", "Two", true, "bo"), group("3", "distributionGroup", "List", false, "cy"),
	}}
	require.Equal(t, at(600), s.StartContactsAndGroups(10*time.Minute, first, start))
	require.Empty(t, drain(t, s, start), "the first start says nothing")
	s = stored(t, s)
	s.SetRoster(session.Roster{Groups: []session.RosterGroup{
		group("1", "group", "Uno", true, "ana"), group("2", "group", "Two", true, "bo", "cy"), group("4", "pinnedGroup", "Four", true, "ana"),
	}}, start)
	require.Equal(t, []string{
		"contact bo deleted in group 1", "group 3 deleted in myGroups",
		"group 1 updated", "group 4 added in myGroups", "contact cy added in myContacts", "contact cy added in group 2", "contact ana added in pinnedGroup 4",
	}, drain(t, s, start))
	require.Equal(t, at(3600), s.StartContactsAndGroups(time.Hour, session.Roster{}, start), "a refresh adds, up to an hour")
	require.Contains(t, drain(t, s, start), "contact ana deleted in myContacts")

	v, err := s.Arrive("", session.Poll{Ack: s.Position(""), Timeout: session.MaxTimer}, start)
	require.NoError(t, err)
	require.NotNil(t, s.Release("", v.Ticket, at(1700)).Package)
	v = arrive(t, s, s.Position("")+1, at(1700)) // stays parked: no silence
	require.Equal(t, at(3600-360), s.Deadline())
	s.Tick(at(3600 - 360))
	require.Equal(t, []string{"contacts and groups updated"}, words(s.Release("", v.Ticket, at(3300)).Package.Events))
	s.Tick(at(3600))
	_, active = s.ContactsAndGroups(at(3600))
	require.False(t, active)
	s.StartContactsAndGroups(10*time.Minute, first, at(3600))
	s.StopContactsAndGroups(at(3601))
	_, active = s.ContactsAndGroups(at(3601))
	require.False(t, active)
}

func TestSilenceResetsAndThenEnds(t *testing.T) {
	begin := func(t *testing.T) *session.Session {
		s := session.New(start, session.Limits{})
		_, err := s.Subscribe("s", []string{"ana"}, 30*time.Minute, start)
		require.NoError(t, err)
		s.StartContactsAndGroups(time.Hour, session.Roster{}, start)
		return s
	}
	t.Run("an application that never used its channel is left alone", func(t *testing.T) {
		s := begin(t)
		require.False(t, s.Tick(at(1500)))
		require.Len(t, s.Subscriptions(at(1500)), 1)
	})
	t.Run("a parked P-GET counts as activity however long", func(t *testing.T) {
		s := begin(t)
		drain(t, s, start)
		v, err := s.Arrive("", session.Poll{Ack: s.Position(""), Timeout: 1800 * time.Second}, start)
		require.NoError(t, err)
		require.False(t, s.Tick(at(1799)))
		require.Nil(t, s.Look("", v.Ticket, at(1600)).Package)
		s.Leave("", v.Ticket, at(1799))
		require.False(t, s.Tick(at(1799+899)))
		require.True(t, s.Tick(at(1799+900)))
	})
	t.Run("after the soft reset the first P-GET is answered at once with resume", func(t *testing.T) {
		s := begin(t)
		drain(t, s, start)
		v, err := s.Arrive("", session.Poll{Ack: 2, Medium: 30 * time.Minute}, start)
		require.NoError(t, err)
		s.Leave("", v.Ticket, at(1))
		require.Equal(t, at(601), s.Deadline())
		require.False(t, s.Tick(at(600.5)))
		require.Len(t, s.Subscriptions(at(600.5)), 1)
		require.False(t, s.Tick(at(601)))
		require.Equal(t, at(901), s.Deadline())
		require.Empty(t, s.Subscribed())
		_, active := s.ContactsAndGroups(at(601))
		require.False(t, active)
		s = stored(t, s)
		p := arrive(t, s, 2, at(700)).Package
		require.NotNil(t, p)
		require.Equal(t, session.Resume, p.Rel)
		require.Equal(t, []string{"contact ana deleted in subscribed", "subscription s deleted"}, words(p.Events))
		require.Equal(t, p, arrive(t, s, 2, at(701)).Package, "resume is said again if it was lost")
		v = arrive(t, s, 3, at(702))
		require.NotZero(t, v.Ticket)
		s.Enqueue(at(702), presence("bo"))
		require.Equal(t, []session.Wake{{At: at(707)}}, s.TakeWakes(at(702)), "the timers are the defaults again")
	})
	t.Run("after more silence the application ends", func(t *testing.T) {
		s := begin(t)
		drain(t, s, start)
		require.False(t, s.Tick(at(899)))
		require.True(t, s.Tick(at(900)))
		_, err := s.Arrive("", session.Poll{Ack: 2}, at(900))
		require.ErrorIs(t, err, session.ErrExpired)
	})
	t.Run("one channel that lives keeps the others", func(t *testing.T) {
		s := begin(t)
		_, err := s.OpenChannel("b", start)
		require.NoError(t, err)
		_, err = s.Arrive("b", session.Poll{Ack: 1, Timeout: time.Hour}, start)
		require.NoError(t, err)
		drain(t, s, start)
		require.False(t, s.Tick(at(1700)))
		require.Len(t, s.Subscriptions(at(1700)), 1)
	})
	t.Run("a clock that is set back takes the deadlines along", func(t *testing.T) {
		s := begin(t)
		v := arrive(t, s, 1, start)
		require.Equal(t, at(5), v.Until)
		v = s.Look("", v.Ticket, at(-3600))
		require.Equal(t, at(-3595), v.Until)
		require.Equal(t, at(-3600+180+60), s.Deadline(), "when its P-GET would be overdue")
		require.NotNil(t, s.Look("", v.Ticket, at(-3595)).Package)
		require.False(t, s.Tick(at(-3595+600)))
		require.Empty(t, s.Subscribed())
	})
}

func TestInterestIsToldOnceAndOnlyIfItLasts(t *testing.T) {
	s := session.New(start, session.Limits{})
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("p%03d", i))
	}
	_, err := s.Subscribe("a", many, 10*time.Minute, start)
	require.NoError(t, err)
	entered, left := s.TakeInterest()
	require.Equal(t, many, entered)
	require.Empty(t, left)
	_, err = s.Subscribe("b", many[:2], 10*time.Minute, start)
	require.NoError(t, err)
	require.NoError(t, s.Unsubscribe("a", start))
	_, err = s.Subscribe("c", many[1:3], 10*time.Minute, start)
	require.NoError(t, err)
	entered, left = s.TakeInterest()
	require.Empty(t, entered)
	require.Equal(t, many[3:], left, "one who left and came back is not told")
}

func FuzzUnmarshalBinary(f *testing.F) {
	s := session.New(start, session.Limits{})
	_, err := s.Subscribe("s", []string{"ana", "bo"}, 10*time.Minute, start)
	require.NoError(f, err)
	_, _, err = s.SubscribeGroup("g", []string{"cy"}, 10*time.Minute, start)
	require.NoError(f, err)
	s.StartContactsAndGroups(10*time.Minute, session.Roster{Groups: []session.RosterGroup{{ID: "1", Rel: "group", Members: []string{"ana"}}}}, start)
	add := func() {
		b, err := s.MarshalBinary()
		require.NoError(f, err)
		f.Add(b)
	}
	add()
	v, err := s.Arrive("", session.Poll{Ack: 1}, start)
	require.NoError(f, err)
	add()
	s.Release("", v.Ticket, start)
	add()
	f.Add([]byte(`{"v":1,"channels":[{"queue":[{}]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s session.Session
		if s.UnmarshalBinary(b) != nil {
			return
		}
		for _, now := range []time.Time{start, at(-1e6), at(1e6)} {
			s.Tick(now)
			s.Deadline()
			for _, instance := range []string{"", "a"} {
				for _, ack := range []int64{-1, s.Position(instance)} {
					v, _ := s.Arrive(instance, session.Poll{Ack: ack}, now)
					if v.Package == nil {
						continue
					}
					for _, e := range v.Package.Events {
						_ = e.Type.String()
					}
					s.Enqueue(now, presence("ana"), event(session.Contact, session.Deleted, session.High, "bo"))
					s.Look(instance, v.Ticket, now)
				}
			}
			for _, sub := range s.Subscriptions(now) {
				_ = s.Unsubscribe(sub.ID, now)
			}
			s.SetRoster(session.Roster{}, now)
			s.TakeInterest()
			s.TakeWakes(now)
			again := stored(t, &s)
			s = *again
		}
	})
}

func TestAChannelThatIsOnlyLentKeepsNothingAlive(t *testing.T) {
	s := session.New(at(0), session.Limits{})
	_, err := s.OpenChannel("tab", at(0))
	require.NoError(t, err)
	require.NoError(t, s.LendChannel("", at(1)))
	require.NoError(t, s.LendChannel("tab", at(1)), "one that is open stays what it is")
	s = stored(t, s)
	require.Equal(t, int64(1), s.Position(""))
	require.Equal(t, 0, s.CloseChannel("tab", at(2)))

	s = session.New(at(0), session.Limits{})
	_, err = s.OpenChannel("tab", at(0))
	require.NoError(t, err)
	require.NoError(t, s.LendChannel("", at(1)))
	arrive(t, s, 1, at(2))
	require.Equal(t, 1, s.CloseChannel("tab", at(3)), "a P-GET has used it")
}
