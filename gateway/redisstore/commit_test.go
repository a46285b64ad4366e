package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

const bo = "bo@contoso.com"

// indexed says whether the index knows that anybody watches an address.
func indexed(t *testing.T, w *wire, address string) bool {
	t.Helper()
	for _, key := range keys(t, w.Client) {
		if strings.HasSuffix(key, ":w:"+address) {
			return true
		}
	}
	return false
}

func TestAClientThatGoesAwayWhileItsSubscriptionIsKeptWatchesAllTheSame(t *testing.T) {
	for name, gone := range map[string]func([]string) bool{
		"while the address is entered": func(words []string) bool { return runs(words, "w:", "3") },
		"while the session is kept":    commits,
	} {
		t.Run(name, func(t *testing.T) {
			client := &wire{Client: redistest.Start(t).Client(t)}
			clk := storetest.NewClock()
			s := openImpatient(t, client, clk)
			s.Open(gateway.Hooks{})
			create(t, s, "1")
			require.NoError(t, s.Update(t.Context(), "1", func(*session.Session) error { return nil }))
			ctx, cancel := context.WithCancel(t.Context())
			happened := false
			client.happens(func(words []string) mishap {
				if !gone(words) {
					return mishap{}
				}
				happened = true
				return mishap{after: cancel}
			})
			require.NoError(t, subscribe(ctx, s, clk, "1", ana), "what is under way goes on")
			require.True(t, happened)
			client.happens(nil)
			require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error {
				require.True(t, sess.Watches(ana))
				return nil
			}))
			require.True(t, indexed(t, client, ana))
			require.ErrorIs(t, s.Update(ctx, "1", func(sess *session.Session) error {
				return sess.Unsubscribe("s", clk.Now())
			}), context.Canceled, "who was gone before does nothing")
		})
	}
}

func TestAnAddressThatWasEnteredInVainIsReleasedOnceThatIsKnown(t *testing.T) {
	client := &wire{Client: redistest.Start(t).Client(t)}
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	s.Open(gateway.Hooks{})
	create(t, s, "1")
	require.NoError(t, s.Update(t.Context(), "1", func(*session.Session) error { return nil }))
	client.happens(func(words []string) mishap { return mishap{lost: runs(words, "w:", "3")} })
	require.ErrorIs(t, subscribe(t.Context(), s, clk, "1", ana), gateway.ErrUnavailable)
	client.happens(nil)
	require.True(t, indexed(t, client, ana))
	require.NoError(t, subscribe(t.Context(), s, clk, "1", bo))
	require.False(t, indexed(t, client, ana))
	require.True(t, indexed(t, client, bo))
}

// Both enter the same address for the same version. One of them keeps it, the
// other finds an event in the inbox first, and does not subscribe then.
func TestAReplicaThatDoesNotSubscribeAfterAllLeavesTheSubscriptionOfAnother(t *testing.T) {
	a, b, client, clk := overWire(t)
	require.NoError(t, subscribe(t.Context(), a, clk, "1", bo))
	first := true
	client.happens(func(words []string) mishap {
		if !commits(words) || !first {
			return mishap{}
		}
		first = false
		return mishap{
			before: func() {
				require.NoError(t, b.Publish(t.Context(), bo, &session.Event{
					Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: bo,
				}))
			},
		}
	})
	subscribeTo := func(id string, address string) func(*session.Session) error {
		return func(sess *session.Session) error {
			_, err := sess.Subscribe(id, []string{address}, 30*time.Minute, clk.Now())
			return err
		}
	}
	refused, tries := errors.New("not after all"), 0
	require.ErrorIs(t, a.Update(t.Context(), "1", func(sess *session.Session) error {
		if tries++; tries > 1 {
			require.NoError(t, b.Update(t.Context(), "1", subscribeTo("b", ana)))
			return refused
		}
		return subscribeTo("a", ana)(sess)
	}), refused)
	client.happens(nil)
	require.Equal(t, 2, tries)
	require.True(t, indexed(t, client, ana), "the other one's subscription")
	require.NoError(t, a.Update(t.Context(), "1", subscribeTo("c", "cy@contoso.com")))
	require.True(t, indexed(t, client, ana))
}

// subscriptions are the ids of those that a session holds.
func subscriptions(t *testing.T, s gateway.Store, clk *storetest.Clock, id string) (ids []string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), id, func(sess *session.Session) error {
		ids = nil
		for _, sub := range sess.Subscriptions(clk.Now()) {
			ids = append(ids, sub.ID)
		}
		return nil
	}))
	return ids
}

func TestAReplicaThatKnowsWhatRedisHasLostOverwritesNothing(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	a, b := openImpatient(t, client, clk), openImpatient(t, client, clk)
	a.Open(gateway.Hooks{})
	b.Open(gateway.Hooks{})
	create(t, a, "1")
	subscribeTo := func(s gateway.Store, id, address string) {
		require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error {
			_, err := sess.Subscribe(id, []string{address}, 30*time.Minute, clk.Now())
			return err
		}))
	}
	subscribeTo(a, "before", ana)
	key := keyOf(t, client, ":app:1")
	saved, err := client.Do(t.Context(), client.B().Dump().Key(key).Build()).ToString()
	require.NoError(t, err)
	subscribeTo(a, "lost", bo)
	require.NoError(t, client.Do(t.Context(), client.B().Restore().Key(key).Ttl(3_600_000).SerializedValue(saved).Replace().Build()).Error())
	subscribeTo(b, "after", "cy@contoso.com")
	require.NoError(t, a.Update(t.Context(), "1", func(sess *session.Session) error {
		_, err := sess.Extend("before", 10*time.Minute, clk.Now())
		return err
	}))
	require.Equal(t, []string{"before", "after"}, subscriptions(t, a, clk, "1"))
	require.Equal(t, []string{"before", "after"}, subscriptions(t, b, clk, "1"))
}

func TestReplicasOfTheReleaseBeforeKeepSessionsBesideThis(t *testing.T) {
	client := redistest.Start(t).Client(t)
	clk := storetest.NewClock()
	s := openImpatient(t, client, clk)
	s.Open(gateway.Hooks{})
	create(t, s, "1")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	key := keyOf(t, client, ":app:1")
	require.NoError(t, client.Do(t.Context(), client.B().Hincrby().Key(key).Field("v").Increment(5).Build()).Error(), "it is a number to them, and they know no mark")
	require.NoError(t, s.Update(t.Context(), "1", func(sess *session.Session) error { return sess.Unsubscribe("s", clk.Now()) }))
	require.NoError(t, client.Do(t.Context(), client.B().Hdel().Key(key).Field("mark").Build()).Error(), "nor do they write one")
	require.NoError(t, subscribe(t.Context(), s, clk, "1", ana))
	require.Equal(t, []string{"s"}, subscriptions(t, s, clk, "1"))
	v, err := client.Do(t.Context(), client.B().Hget().Key(key).Field("v").Build()).AsInt64()
	require.NoError(t, err)
	require.EqualValues(t, 1+1+5+1+1, v)
}

func keyOf(t *testing.T, c rueidis.Client, suffix string) string {
	t.Helper()
	for _, key := range keys(t, c) {
		if strings.HasSuffix(key, suffix) {
			return key
		}
	}
	require.FailNow(t, "there is no such key", suffix)
	return ""
}

func TestAnApplicationWhoseClientComesBackAtTheLastMomentLives(t *testing.T) {
	a, b, client, clk := overWire(t)
	require.NoError(t, subscribe(t.Context(), a, clk, "1", ana))
	came := false
	client.happens(func(words []string) mishap {
		if !runs(words, "dead:", "8") || came {
			return mishap{}
		}
		came = true
		return mishap{before: func() {
			require.NoError(t, b.Update(t.Context(), "1", func(sess *session.Session) error { return sess.Unsubscribe("s", clk.Now()) }))
		}}
	})
	require.NoError(t, a.Update(t.Context(), "1", func(sess *session.Session) error {
		if len(sess.Subscriptions(clk.Now())) > 0 {
			return gateway.ErrExpired
		}
		return nil
	}))
	require.True(t, came)
	require.Empty(t, subscriptions(t, a, clk, "1"))
}

func TestAnUpdateComesToAnEndAlthoughEventsComeAllTheTime(t *testing.T) {
	a, b, client, clk := overWire(t)
	var people, told []string
	for i := range 10 {
		people = append(people, fmt.Sprintf("p%d@contoso.com", i))
	}
	require.NoError(t, subscribe(t.Context(), a, clk, "1", people...))
	var ack int64
	require.NoError(t, a.Update(t.Context(), "1", func(sess *session.Session) error { ack = sess.Position(""); return nil }))
	tries := 0
	client.happens(func(words []string) mishap {
		if !commits(words) || tries == len(people) {
			return mishap{}
		}
		return mishap{before: func() {
			require.NoError(t, b.Publish(t.Context(), people[tries], &session.Event{
				Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: people[tries],
			}))
			tries++
		}}
	})
	require.NoError(t, a.Update(t.Context(), "1", func(sess *session.Session) error {
		_, err := sess.Extend("s", 20*time.Minute, clk.Now())
		return err
	}))
	client.happens(nil)
	require.Less(t, tries, len(people), "it does not wait for a moment without")
	ids, err := b.Due(t.Context(), clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids, "what came last is to be queued")
	var v session.Verdict
	require.NoError(t, b.Update(t.Context(), "1", func(sess *session.Session) (err error) {
		v, err = sess.Arrive("", session.Poll{Ack: ack}, clk.Now())
		return err
	}))
	require.NotNil(t, v.Package)
	for _, e := range v.Package.Events {
		if e.Kind == session.ContactPresence {
			told = append(told, e.Key)
		}
	}
	// Each is in it since the subscription began, and comes last once something has come.
	require.Equal(t, slices.Concat(people[tries:], people[:tries]), told)
}
