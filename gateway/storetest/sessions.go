package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

var sessionTests = map[string]func(*testing.T, *fixture){
	"a change of a session is kept, and only if it succeeds":             update,
	"a session that has expired ends its application as idle":            expire,
	"what is published reaches who subscribes, and wakes its P-GET":      publish,
	"a P-GET is woken when the time given has come":                      until,
	"a later wake outlives a time asked for before it was known":         untilRace,
	"a replaced P-GET is woken":                                          replacedPGet,
	"a P-GET of another channel is left alone":                           otherChannel,
	"an application that ends wakes its P-GET and releases its interest": endings,
	"a parked P-GET keeps its application from being idle":               parkedIsUse,
	"interest is told once, and again once nobody holds it":              interested,
	"interest is told in order however quickly it changes":               interestOrder,
	"who is available is told with the first and the last application":   availability,
	"a change reaches whom it is about":                                  ownChange,
	"subscriptions are counted, until they or their application end":     counted,
	"a claim is taken once, until it ends or is released":                claims,
	"the applications of an owner are listed, oldest first":              owned,
	"what has something to do is handed out once":                        due,
	"a clock that is set back is no harm":                                setBack,
	"functions on one session run one at a time":                         serialized,
	"publishing, parking, subscribing and ending do not disturb":         turmoil,
}

func counted(t *testing.T, f *fixture) {
	requireCount := func(applications, subscriptions int) {
		t.Helper()
		a, s, err := f.Count(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{applications, subscriptions}, []int{a, s})
	}
	f.create(t, "1")
	f.create(t, "2")
	f.subscribe(t, "1", "a", "ana@contoso.com")
	f.subscribe(t, "1", "b", "bo@contoso.com")
	f.subscribe(t, "2", "c", "ana@contoso.com")
	requireCount(2, 3)
	require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error { return s.Unsubscribe("a", f.clk.Now()) }))
	requireCount(2, 2)
	require.Error(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		_, err := s.Subscribe("d", []string{"cy@contoso.com"}, 30*time.Minute, f.clk.Now())
		require.NoError(t, err)
		return errors.New("not kept")
	}))
	requireCount(2, 2)
	require.NoError(t, f.Delete(t.Context(), "1"))
	requireCount(1, 1)
	require.NoError(t, f.Delete(t.Context(), "2"))
	requireCount(0, 0)
}

func update(t *testing.T, f *fixture) {
	f.create(t, "1")
	f.subscribe(t, "1", "s", "ana@contoso.com")
	wanted := errors.New("wanted")
	err := f.Update(t.Context(), "1", func(s *session.Session) error {
		require.NoError(t, s.Unsubscribe("s", f.clk.Now()))
		_, err := s.Subscribe("t", []string{"bo@contoso.com"}, 10*time.Minute, f.clk.Now())
		require.NoError(t, err)
		return wanted
	})
	require.Equal(t, wanted, err)
	require.Panics(t, func() {
		_ = f.Update(t.Context(), "1", func(s *session.Session) error {
			_ = s.Unsubscribe("s", f.clk.Now())
			panic("wanted")
		})
	})
	require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		require.Equal(t, []string{"ana@contoso.com"}, s.Subscribed())
		return nil
	}))
	f.requireWatched(t, "ana@contoso.com", true)
	require.Zero(t, f.told("bo@contoso.com"))
	requireEndedError(t, f.Update(t.Context(), "2", func(*session.Session) error { panic("never called") }), gateway.EndedUnknown, "")
}

func expire(t *testing.T, f *fixture) {
	f.create(t, "1")
	f.subscribe(t, "1", "s", "ana@contoso.com")
	p, _ := f.park(t, "1", "")
	err := f.Update(t.Context(), "1", func(*session.Session) error { return gateway.ErrExpired })
	require.ErrorIs(t, err, gateway.ErrExpired)
	requireEndedError(t, err, gateway.EndedIdle, "owner1@contoso.com")
	requireWoken(t, p)
	requireEnded(t, f.Store, "1", gateway.EndedIdle, "owner1@contoso.com")
	f.requireWatched(t, "ana@contoso.com", false)
}

func publish(t *testing.T, f *fixture) {
	for _, id := range []string{"1", "2", "3"} {
		f.create(t, id)
	}
	f.subscribe(t, "1", "s", "ana@contoso.com", "bo@contoso.com")
	f.subscribe(t, "2", "s", "ana@contoso.com")
	f.subscribe(t, "3", "s", "bo@contoso.com")
	parked := map[string]gateway.Parked{}
	tickets := map[string]uint64{}
	for _, id := range []string{"1", "2", "3"} {
		p, v := f.park(t, id, "")
		parked[id], tickets[id] = p, v.Ticket
	}
	require.NoError(t, f.Publish(t.Context(), "ana@contoso.com", presence("ana@contoso.com")))
	require.NoError(t, f.Publish(t.Context(), "nobody@contoso.com", presence("nobody@contoso.com")))
	f.clk.Advance(4 * time.Second)
	for _, p := range parked {
		f.requireAsleep(t, p)
	}
	eventually(t, func() bool {
		f.clk.Advance(time.Second)
		return len(parked["1"].Wake()) > 0 && len(parked["2"].Wake()) > 0
	})
	f.requireAsleep(t, parked["3"])
	for _, id := range []string{"1", "2"} {
		requireWoken(t, parked[id])
		v := f.look(t, id, "", tickets[id])
		require.NotNil(t, v.Package)
		require.Len(t, v.Package.Events, 1)
		require.Equal(t, "ana@contoso.com", v.Package.Events[0].Key)
	}
	_, v := f.park(t, "3", "")
	require.NoError(t, f.Publish(t.Context(), "bo@contoso.com",
		&session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: "bo@contoso.com"}))
	eventually(t, func() bool { return f.look(t, "3", "", v.Ticket).Package != nil })
}

func until(t *testing.T, f *fixture) {
	f.create(t, "1")
	p := f.Park("1", "")
	defer p.Close()
	p.Until(f.clk.Now().Add(10 * time.Second))
	p.Until(f.clk.Now().Add(20 * time.Second))
	f.clk.Advance(19 * time.Second)
	f.requireAsleep(t, p)
	f.clk.Advance(time.Second)
	requireWoken(t, p)
	p.Until(f.clk.Now().Add(-time.Second))
	requireWoken(t, p)
	p.Until(f.clk.Now().Add(time.Second))
	p.Close()
	p.Close()
	f.clk.Advance(time.Minute)
	f.requireAsleep(t, p)

	gone := f.Park("2", "")
	requireWoken(t, gone)
	gone.Until(f.clk.Now())
	gone.Close()
}

func untilRace(t *testing.T, f *fixture) {
	f.create(t, "1")
	f.subscribe(t, "1", "s", "ana@contoso.com")
	p, v := f.park(t, "1", "")
	require.NoError(t, f.Publish(t.Context(), "ana@contoso.com", presence("ana@contoso.com")))
	p.Until(v.Until) // computed before the event came
	f.clk.Advance(5 * time.Second)
	requireWoken(t, p)
	require.NotNil(t, f.look(t, "1", "", v.Ticket).Package)
}

func replacedPGet(t *testing.T, f *fixture) {
	f.create(t, "1")
	first, v := f.park(t, "1", "")
	_, w := f.park(t, "1", "")
	requireWoken(t, first)
	require.True(t, f.look(t, "1", "", v.Ticket).Replaced)
	require.Equal(t, w.Ticket, f.look(t, "1", "", w.Ticket).Ticket)
}

func otherChannel(t *testing.T, f *fixture) {
	f.create(t, "1")
	require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		_, err := s.OpenChannel("a", f.clk.Now())
		if err == nil {
			_, err = s.OpenChannel("b", f.clk.Now())
		}
		return err
	}))
	a, _ := f.park(t, "1", "a")
	b, _ := f.park(t, "1", "b")
	require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		require.Equal(t, 1, s.CloseChannel("a", f.clk.Now()))
		return nil
	}))
	requireWoken(t, a)
	f.requireAsleep(t, b)
}

func endings(t *testing.T, f *fixture) {
	for name, end := range map[string]func(t *testing.T){
		"deleted": func(t *testing.T) { require.NoError(t, f.Delete(t.Context(), "1")) },
		"replaced": func(t *testing.T) {
			a := app("r", "owner1@contoso.com", "e")
			a.Culture = "de-DE"
			mustCreate(t, f.Store, a, 10)
			require.NoError(t, f.Delete(t.Context(), "r"))
		},
		"evicted": func(t *testing.T) {
			mustCreate(t, f.Store, app("n", "owner1@contoso.com", "other"), 1)
			require.NoError(t, f.Delete(t.Context(), "n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f.create(t, "1")
			f.create(t, "2")
			f.subscribe(t, "1", "s", "ana@contoso.com", "bo@contoso.com")
			f.subscribe(t, "2", "s", "bo@contoso.com")
			p, _ := f.park(t, "1", "")
			end(t)
			requireWoken(t, p)
			f.requireWatched(t, "ana@contoso.com", false)
			f.requireWatched(t, "bo@contoso.com", true)
			require.Error(t, f.Update(t.Context(), "1", func(*session.Session) error { return nil }))
			ids, err := f.Due(t.Context(), f.clk.Now().Add(24*time.Hour), 10)
			require.NoError(t, err)
			require.NotContains(t, ids, "1")
			p.Close()
			require.NoError(t, f.Delete(t.Context(), "2"))
		})
	}
}

func parkedIsUse(t *testing.T, f *fixture) {
	f.create(t, "1")
	p, _ := f.park(t, "1", "")
	f.clk.Advance(limits.Idle + time.Minute)
	_, err := f.Use(t.Context(), "1")
	require.NoError(t, err)
	f.clk.Advance(limits.Idle - time.Minute)
	p.Close()
	f.clk.Advance(limits.Idle - time.Minute)
	_, err = f.Use(t.Context(), "1")
	require.NoError(t, err)
	f.clk.Advance(limits.Idle)
	requireEnded(t, f.Store, "1", gateway.EndedIdle, "owner1@contoso.com")
	f.clk.Advance(limits.Idle)
}

func interested(t *testing.T, f *fixture) {
	const n = 200 // more than an engine may treat as few
	for i := range n {
		f.create(t, fmt.Sprint(i))
		f.subscribe(t, fmt.Sprint(i), "s", "ana@contoso.com")
	}
	f.requireWatched(t, "ana@contoso.com", true)
	for i := range n - 1 {
		require.NoError(t, f.Delete(t.Context(), fmt.Sprint(i)))
	}
	require.Equal(t, 1, f.told("ana@contoso.com"))
	_, v := f.park(t, fmt.Sprint(n-1), "")
	require.NoError(t, f.Publish(t.Context(), "ana@contoso.com", presence("ana@contoso.com")))
	eventually(t, func() bool {
		return f.look(t, fmt.Sprint(n-1), "", v.Ticket).Until.Before(v.Until)
	})
	require.NoError(t, f.Update(t.Context(), fmt.Sprint(n-1), func(s *session.Session) error {
		return s.Unsubscribe("s", f.clk.Now())
	}))
	f.requireWatched(t, "ana@contoso.com", false)
	require.Equal(t, 2, f.told("ana@contoso.com"))
	f.subscribe(t, fmt.Sprint(n-1), "t", "ana@contoso.com")
	f.requireWatched(t, "ana@contoso.com", true)
}

func interestOrder(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	for i := range 8 {
		id := fmt.Sprint(i)
		f.create(t, id)
		wg.Go(func() {
			for range 100 {
				_ = f.Update(context.Background(), id, func(s *session.Session) error {
					_, err := s.Subscribe("s", []string{"ana@contoso.com", "p" + id}, 10*time.Minute, f.clk.Now())
					return err
				})
				_ = f.Update(context.Background(), id, func(s *session.Session) error { return s.Unsubscribe("s", f.clk.Now()) })
			}
		})
	}
	wg.Wait()
	f.requireWatched(t, "ana@contoso.com", false)
	f.subscribe(t, "3", "s", "ana@contoso.com")
	f.requireWatched(t, "ana@contoso.com", true)
}

func due(t *testing.T, f *fixture) {
	ctx := t.Context()
	for _, id := range []string{"1", "2", "3"} {
		f.create(t, id)
		f.subscribe(t, id, "s", "ana@contoso.com")
		f.clk.Advance(time.Second)
	}
	take := func(limit int) []string {
		ids, err := f.Due(ctx, f.clk.Now(), limit)
		require.NoError(t, err)
		return ids
	}
	require.Empty(t, take(10))
	f.clk.Advance(27*time.Minute - 3*time.Second)
	require.Equal(t, []string{"1"}, take(10), "its subscription is about to expire")
	f.clk.Advance(2 * time.Second)
	require.Equal(t, []string{"2"}, take(1), "no more than asked for")
	require.Equal(t, []string{"3"}, take(10), "none twice")
	require.Empty(t, take(10))
	require.NoError(t, f.Update(ctx, "1", func(s *session.Session) error {
		require.False(t, s.Tick(f.clk.Now()))
		return nil
	}))
	require.NoError(t, f.Delete(ctx, "3"))
	f.clk.Advance(2 * time.Minute)
	require.Equal(t, []string{"2"}, take(10), "who took it did not act: again after a while")
	f.clk.Advance(time.Minute)
	require.Contains(t, take(10), "1", "the subscription expires")
}

func setBack(t *testing.T, f *fixture) {
	f.create(t, "1")
	f.subscribe(t, "1", "s", "ana@contoso.com")
	p, v := f.park(t, "1", "")
	_, err := f.Due(t.Context(), f.clk.Now(), 10)
	require.NoError(t, err)
	f.clk.Set(f.clk.Now().Add(-48 * time.Hour)) // more than any replica can be late
	ids, err := f.Due(t.Context(), f.clk.Now(), 10)
	require.NoError(t, err)
	for _, id := range ids {
		require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
			require.False(t, s.Tick(f.clk.Now()))
			return nil
		}))
	}
	require.NoError(t, f.Publish(t.Context(), "ana@contoso.com", presence("ana@contoso.com")))
	f.clk.Advance(5 * time.Second)
	requireWoken(t, p)
	require.NotNil(t, f.look(t, "1", "", v.Ticket).Package)
	f.clk.Advance(27 * time.Minute)
	ids, err = f.Due(t.Context(), f.clk.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids, "the deadlines went back with the clock")
}

func serialized(t *testing.T, f *fixture) {
	f.create(t, "1")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_ = f.Update(context.Background(), "1", func(s *session.Session) error {
				if _, err := s.Subscribe(fmt.Sprint(i), []string{fmt.Sprint("p", i)}, 10*time.Minute, f.clk.Now()); err != nil {
					return err
				}
				if i%5 == 0 {
					return errors.New("wanted")
				}
				return nil
			})
		})
	}
	wg.Wait()
	require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		require.Len(t, s.Subscriptions(f.clk.Now()), 40)
		return nil
	}))
	for i := range 50 {
		f.requireWatched(t, fmt.Sprint("p", i), i%5 != 0)
	}
}

// turmoil does everything at once. At the end the applications that remain
// must have been told of the last event, and nobody else may be watched.
func turmoil(t *testing.T, f *fixture) {
	ctx := context.Background()
	const apps = 12
	for i := range apps {
		f.create(t, fmt.Sprint(i))
		f.subscribe(t, fmt.Sprint(i), "keep", "ana@contoso.com")
	}
	var wg sync.WaitGroup
	for i := range apps {
		id := fmt.Sprint(i)
		wg.Go(func() {
			for n := range 60 {
				p := f.Park(id, "")
				var v session.Verdict
				err := f.Update(ctx, id, func(s *session.Session) (err error) {
					v, err = s.Arrive("", session.Poll{Ack: s.Position("")}, f.clk.Now())
					return err
				})
				if err == nil && v.Ticket != 0 {
					p.Until(v.Until)
					_ = f.Update(ctx, id, func(s *session.Session) error {
						s.Leave("", v.Ticket, f.clk.Now())
						return nil
					})
				}
				p.Close()
				if i%3 == 0 && n == 40 {
					_ = f.Delete(ctx, id)
				}
			}
		})
		wg.Go(func() {
			for n := range 60 {
				_ = f.Update(ctx, id, func(s *session.Session) error {
					if n%2 == 0 {
						_, err := s.Subscribe("s", []string{"bo@contoso.com"}, 10*time.Minute, f.clk.Now())
						return err
					}
					return s.Unsubscribe("s", f.clk.Now())
				})
				_, _ = f.Due(ctx, f.clk.Now(), 5)
			}
		})
	}
	wg.Go(func() {
		for range 60 {
			_ = f.Publish(ctx, "ana@contoso.com", presence("ana@contoso.com"))
			_ = f.Publish(ctx, "bo@contoso.com", presence("bo@contoso.com"))
			f.clk.Advance(10 * time.Millisecond)
		}
	})
	wg.Wait()
	f.requireWatched(t, "bo@contoso.com", false)
	require.NoError(t, f.Publish(ctx, "ana@contoso.com", &session.Event{
		Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: "ana@contoso.com", GroupRel: "the last",
	}))
	for i := range apps {
		if i%3 == 0 {
			requireEnded(t, f.Store, fmt.Sprint(i), gateway.EndedUnknown, "")
			continue
		}
		eventually(t, func() bool { return f.hasTheLast(t, fmt.Sprint(i)) })
		require.NoError(t, f.Delete(ctx, fmt.Sprint(i)))
	}
	f.requireWatched(t, "ana@contoso.com", false)
}

func (f *fixture) hasTheLast(t *testing.T, id string) (found bool) {
	require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
		v, err := s.Arrive("", session.Poll{Ack: s.Position("")}, f.clk.Now())
		if err == nil && v.Package != nil {
			v, err = s.Arrive("", session.Poll{Ack: v.Package.NextAck}, f.clk.Now())
		}
		if err != nil {
			return err
		}
		if v.Package == nil {
			v = s.Release("", v.Ticket, f.clk.Now())
		}
		for _, e := range v.Package.Events {
			found = found || e.GroupRel == "the last"
		}
		return nil
	}))
	return found
}
