package session_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/gateway/session"
)

// subscriber is a client that subscribes, and whose picture of whom it
// subscribes to comes from events alone.
type subscriber struct {
	s             *session.Session
	now           time.Time
	ack           int64
	contacts      map[string]bool
	subs          map[string]bool
	watched       map[string]bool
	subscriptions int
}

func newSubscriber() *subscriber {
	m := &subscriber{now: start}
	m.restart()
	return m
}

func (m *subscriber) restart() {
	m.s = session.New(m.now, session.Limits{})
	m.ack, m.contacts, m.subs, m.watched = 1, map[string]bool{}, map[string]bool{}, map[string]bool{}
}

func TestAClientsPictureOfItsSubscriptionsConvergesToTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newSubscriber()
		some := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("p%d@contoso.com", rapid.IntRange(0, 150).Draw(t, "person"))
		}), 0, 60)
		id := func(t *rapid.T) string {
			all := slices.Collect(maps.Keys(m.subs))
			slices.Sort(all)
			return rapid.SampledFrom(append(all, "nobody")).Draw(t, "id")
		}
		duration := func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(10, 30).Draw(t, "minutes")) * time.Minute
		}
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"subscribe": func(t *rapid.T) {
				m.subscriptions++
				_, err := m.s.Subscribe(fmt.Sprint("s", m.subscriptions), some.Draw(t, "addresses"), duration(t), m.now)
				require.NoError(t, err)
			},
			"subscribe to many": func(t *rapid.T) {
				from := rapid.IntRange(0, 70).Draw(t, "from")
				list := make([]string, 80)
				for i := range list {
					list[i] = fmt.Sprintf("p%d@contoso.com", from+i)
				}
				m.subscriptions++
				_, err := m.s.Subscribe(fmt.Sprint("s", m.subscriptions), list, duration(t), m.now)
				require.NoError(t, err)
			},
			"subscribe to a group": func(t *rapid.T) {
				_, _, err := m.s.SubscribeGroup(rapid.SampledFrom([]string{"g1", "g2"}).Draw(t, "group"), some.Draw(t, "addresses"), duration(t), m.now)
				require.NoError(t, err)
			},
			"group changes": func(t *rapid.T) { m.s.SetGroupMembers("g1", some.Draw(t, "addresses"), m.now) },
			"extend":        func(t *rapid.T) { _, _ = m.s.Extend(id(t), duration(t), m.now) },
			"unsubscribe":   func(t *rapid.T) { _ = m.s.Unsubscribe(id(t), m.now) },
			"add members":   func(t *rapid.T) { _, _ = m.s.AddMembers(id(t), some.Draw(t, "addresses"), m.now) },
			"remove member": func(t *rapid.T) {
				for _, a := range some.Draw(t, "addresses") {
					_ = m.s.RemoveMember(id(t), a, m.now)
				}
			},
			"failed change": func(t *rapid.T) {
				_ = m.s.Try(func(s *session.Session) error {
					_, _ = s.Subscribe("x", some.Draw(t, "addresses"), duration(t), m.now)
					for _, sub := range s.Subscriptions(m.now) {
						_ = s.Unsubscribe(sub.ID, m.now)
					}
					return errors.New("wanted")
				})
			},
			"stored and read": func(t *rapid.T) { m.s = stored(t, m.s) },
			"time passes": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(0, 500).Draw(t, "seconds")) * time.Second)
				if m.s.Tick(m.now) {
					m.restart()
				}
			},
			"clock set back": func(t *rapid.T) {
				m.now = m.now.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "seconds")) * time.Second)
			},
			"P-GET": func(t *rapid.T) { m.poll(t, rapid.Bool().Draw(t, "answer arrives")) },
		})
		if m.s.Tick(m.now) {
			return
		}
		for range 3 {
			m.poll(t, true)
		}
		require.ElementsMatch(t, m.s.Subscribed(), slices.Collect(maps.Keys(m.contacts)))
		var ids []string
		for _, sub := range m.s.Subscriptions(m.now) {
			ids = append(ids, sub.ID)
		}
		require.ElementsMatch(t, ids, slices.Collect(maps.Keys(m.subs)))
	})
}

func (m *subscriber) poll(t *rapid.T, arrives bool) {
	v, err := m.s.Arrive("", session.Poll{Ack: m.ack}, m.now)
	if errors.Is(err, session.ErrExpired) {
		m.restart()
		return
	}
	require.NoError(t, err)
	if v.Package == nil {
		v = m.s.Release("", v.Ticket, m.now)
	}
	if !arrives {
		return
	}
	m.ack = v.Package.NextAck
	for _, e := range v.Package.Events {
		picture := m.contacts
		switch e.Kind {
		case session.PresenceSubscription:
			picture = m.subs
		case session.ContactPresence:
			continue
		}
		switch e.Type {
		case session.Added:
			require.False(t, picture[e.Key], "%s was added twice", e.Key)
			picture[e.Key] = true
		case session.Deleted:
			require.True(t, picture[e.Key], "%s was deleted twice", e.Key)
			delete(picture, e.Key)
		}
	}
}

// check compares what an engine knows from TakeInterest with the truth.
func (m *subscriber) check(t *rapid.T) {
	entered, left := m.s.TakeInterest()
	for _, a := range entered {
		require.False(t, m.watched[a])
		m.watched[a] = true
	}
	for _, a := range left {
		require.True(t, m.watched[a])
		delete(m.watched, a)
	}
	require.ElementsMatch(t, m.s.Subscribed(), slices.Collect(maps.Keys(m.watched)))
	for i := range 151 {
		a := fmt.Sprintf("p%d@contoso.com", i)
		require.Equal(t, m.watched[a], m.s.Watches(a))
	}
	for _, sub := range m.s.Subscriptions(m.now) {
		require.LessOrEqual(t, sub.Expires.Sub(m.now), session.MaxSubscription+5*time.Second)
	}
}
