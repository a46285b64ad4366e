package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

// OpenTwo opens two stores that share what they keep, which is empty, and live
// by clk. It registers its own cleanup.
type OpenTwo func(t *testing.T, clk clock.Clock, l Limits) (a, b gateway.Store)

var replicaTests = map[string]func(t *testing.T, a, b *fixture){
	"an application that one creates the other serves, until it ends":     sharedApplication,
	"use of an application by one is use for the other":                   sharedUse,
	"what one publishes wakes the P-GET that waits at the other":          publishedElsewhere,
	"a P-GET at one is replaced by another at the other":                  replacedElsewhere,
	"a P-GET whose replica has ended keeps nobody out, and nothing alive": lostElsewhere,
	"an application that one ends wakes its P-GET at the other":           endedElsewhere,
	"a session that both change keeps the changes of both":                changedByBoth,
	"both hear of whom anybody watches, and of who is available":          heardByBoth,
	"what is due is handed out by one alone":                              dueOnce,
	"a claim is taken by one alone":                                       claimedOnce,
	"the limits of a user hold for both together":                         limitedTogether,
	"a change that is published by both is told once":                     toldOnce,
	"an event that was queued at one is fetched at the other":             fetchedElsewhere,
	"applications and subscriptions of both are counted by each":          countedTogether,
	"an application is in use as long as a P-GET waits at either of them": waitsElsewhere,
}

// RunReplicas runs the part of the contract that is about two replicas.
func RunReplicas(t *testing.T, open OpenTwo) {
	for name, test := range replicaTests {
		t.Run(name, func(t *testing.T) {
			clk := NewClock()
			one, two := open(t, clk, limits)
			a, b := newFixture(one, clk), newFixture(two, clk)
			test(t, a, b)
			for _, f := range []*fixture{a, b} {
				f.mu.Lock()
				require.Empty(t, f.wrong, "what the hook was told")
				f.mu.Unlock()
			}
		})
	}
}

func sharedApplication(t *testing.T, a, b *fixture) {
	want := app("1", ana, "e")
	mustCreate(t, a.Store, want, 10)
	got, err := b.Use(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, want, got)
	again, created, err := b.Create(t.Context(), app("2", ana, "e"), 10)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, want, again)
	mustCreate(t, b.Store, app("3", ana, "other"), 1)
	eventually(t, func() bool { _, err := a.Use(t.Context(), "1"); return err != nil })
	requireEnded(t, a.Store, "1", gateway.EndedTooMany, ana)
	require.NoError(t, a.Delete(t.Context(), "3"))
	eventually(t, func() bool { _, err := b.Use(t.Context(), "3"); return err != nil })
	requireEnded(t, b.Store, "3", gateway.EndedUnknown, "")
}

func sharedUse(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	for range 4 {
		a.clk.Advance(limits.Idle - 2*time.Minute)
		_, err := b.Use(t.Context(), "1")
		require.NoError(t, err)
		a.clk.Advance(limits.Idle - 2*time.Minute)
		_, err = a.Use(t.Context(), "1")
		require.NoError(t, err)
	}
	a.clk.Advance(limits.Idle)
	requireEnded(t, b.Store, "1", gateway.EndedIdle, "owner1@contoso.com")
	requireEnded(t, a.Store, "1", gateway.EndedIdle, "owner1@contoso.com")
}

func publishedElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	a.subscribe(t, "1", "s", ana)
	p, v := a.park(t, "1", "")
	require.NoError(t, b.Publish(t.Context(), ana, presence(ana)))
	passed := 0 // not so long that the application ends before it is heard of
	eventually(t, func() bool {
		if passed < 120 {
			a.clk.Advance(time.Second)
			passed++
		}
		return len(p.Wake()) > 0 && a.look(t, "1", "", v.Ticket).Package != nil
	})
	p, v = a.park(t, "1", "")
	require.NoError(t, b.Publish(t.Context(), ana, &session.Event{Kind: session.ContactPresence, Type: session.Updated, Class: session.High, Key: ana}))
	eventually(t, func() bool { return len(p.Wake()) > 0 && a.look(t, "1", "", v.Ticket).Package != nil })
}

func replacedElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	first, v := a.park(t, "1", "")
	_, w := b.park(t, "1", "")
	requireWoken(t, first)
	require.True(t, a.look(t, "1", "", v.Ticket).Replaced)
	require.Equal(t, w.Ticket, b.look(t, "1", "", w.Ticket).Ticket)
	require.NoError(t, a.Update(t.Context(), "1", func(s *session.Session) error {
		_, err := s.OpenChannel("other", a.clk.Now())
		return err
	}))
	other, _ := b.park(t, "1", "other")
	require.NoError(t, a.Update(t.Context(), "1", func(s *session.Session) error {
		s.CloseChannel("other", a.clk.Now())
		return nil
	}))
	requireWoken(t, other)
}

func lostElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	a.park(t, "1", "")
	arrive := func(priority int) (v session.Verdict) {
		require.NoError(t, b.Update(t.Context(), "1", func(s *session.Session) (err error) {
			v, err = s.Arrive("", session.Poll{Ack: s.Position(""), Priority: priority}, b.clk.Now())
			return err
		}))
		return v
	}
	require.NotZero(t, arrive(1).Ticket)
	require.True(t, arrive(0).Replaced)
	b.clk.Advance(session.DefaultTimeout + time.Minute)
	require.NotZero(t, arrive(0).Ticket)
	var expired bool
	for passed := time.Duration(0); !expired; passed += time.Minute {
		require.Less(t, passed, 25*time.Minute)
		b.clk.Advance(time.Minute)
		ids, err := b.Due(t.Context(), b.clk.Now(), 10)
		require.NoError(t, err)
		for _, id := range ids {
			require.NoError(t, b.Update(t.Context(), id, func(s *session.Session) error { expired = s.Tick(b.clk.Now()); return nil }))
		}
	}
}

func endedElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	a.subscribe(t, "1", "s", ana)
	p, _ := a.park(t, "1", "")
	b.requireWatched(t, ana, true)
	require.NoError(t, b.Delete(t.Context(), "1"))
	requireWoken(t, p)
	requireEndedError(t, a.Update(t.Context(), "1", func(*session.Session) error { return nil }), gateway.EndedUnknown, "")
	a.requireWatched(t, ana, false)
	b.requireWatched(t, ana, false)
}

func changedByBoth(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	done := make(chan error, 2)
	for i, f := range []*fixture{a, b} {
		go func() {
			var err error
			for n := range 40 {
				id := fmt.Sprintf("%d-%d", i, n)
				err = f.Update(t.Context(), "1", func(s *session.Session) error {
					_, err := s.Subscribe(id, []string{ana, "p" + id}, 10*time.Minute, f.clk.Now())
					return err
				})
				if err == nil && n%2 == 0 {
					err = f.Update(t.Context(), "1", func(s *session.Session) error { return s.Unsubscribe(id, f.clk.Now()) })
				}
				if err != nil {
					break
				}
			}
			done <- err
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	for _, f := range []*fixture{a, b} {
		var held int
		require.NoError(t, f.Update(t.Context(), "1", func(s *session.Session) error { held = s.Held(); return nil }))
		require.Equal(t, 40, held)
		for _, i := range []int{0, 1} {
			for n := range 40 {
				f.requireWatched(t, fmt.Sprintf("p%d-%d", i, n), n%2 != 0)
			}
		}
		f.requireWatched(t, ana, true)
	}
}

func heardByBoth(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	b.create(t, "2")
	a.subscribe(t, "1", "s", ana, "bo@contoso.com")
	b.subscribe(t, "2", "s", "bo@contoso.com")
	a.makeAvailable(t, "1", "owner1@contoso.com")
	for _, f := range []*fixture{a, b} {
		f.requireWatched(t, ana, true)
		f.requireWatched(t, "bo@contoso.com", true)
		f.requireWatched(t, "owner1@contoso.com", true)
		f.requireAvailable(t, "owner1@contoso.com", true)
	}
	require.NoError(t, b.Delete(t.Context(), "1"))
	for _, f := range []*fixture{a, b} {
		f.requireWatched(t, ana, false)
		f.requireAvailable(t, "owner1@contoso.com", false)
		f.requireWatched(t, "bo@contoso.com", true)
	}
	require.NoError(t, a.Delete(t.Context(), "2"))
	for _, f := range []*fixture{a, b} {
		f.requireWatched(t, "bo@contoso.com", false)
		require.Equal(t, 2, f.told("bo@contoso.com"))
	}
}

func dueOnce(t *testing.T, a, b *fixture) {
	const n = 40
	for i := range n {
		a.create(t, fmt.Sprint(i))
		a.subscribe(t, fmt.Sprint(i), "s", ana)
	}
	a.clk.Advance(27*time.Minute + time.Second)
	lists := make(chan []string, 2)
	for _, f := range []*fixture{a, b} {
		go func() {
			ids, _ := f.Due(t.Context(), f.clk.Now(), n)
			lists <- ids
		}()
	}
	all := append(<-lists, <-lists...)
	slices.Sort(all)
	require.Len(t, slices.Compact(slices.Clone(all)), len(all), "none twice")
	require.Len(t, all, n)
	a.clk.Advance(time.Minute)
	ids, err := b.Due(t.Context(), b.clk.Now(), n)
	require.NoError(t, err)
	require.Len(t, ids, n, "who took them did not act: again after a while, at the other")
}

func claimedOnce(t *testing.T, a, b *fixture) {
	until, taken, err := a.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
	other, taken, err := b.Claim(t.Context(), "k", time.Hour)
	require.NoError(t, err)
	require.False(t, taken)
	require.WithinDuration(t, until, other, time.Millisecond)
	a.clk.Advance(time.Minute)
	_, taken, err = b.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
}

func limitedTogether(t *testing.T, a, b *fixture) {
	for i := range 6 {
		f := a
		if i%2 == 0 {
			f = b
		}
		mustCreate(t, f.Store, app(fmt.Sprint(i), ana, fmt.Sprint("e", i)), 3)
	}
	for _, f := range []*fixture{a, b} {
		list, err := f.Owned(t.Context(), ana)
		require.NoError(t, err)
		require.Equal(t, []gateway.Application{app("3", ana, "e3"), app("4", ana, "e4"), app("5", ana, "e5")}, list)
	}
}

// changeOf is an event that a revision names.
func changeOf(address, revision, mark string) *session.Event {
	e := presence(address)
	e.Revision, e.Kind, e.GroupRel = revision, session.ContactPresence, mark
	return e
}

func toldOnce(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	a.subscribe(t, "1", "s", ana, "bo@contoso.com")
	fetch := func() (marks []string) {
		var v session.Verdict
		require.NoError(t, b.Update(t.Context(), "1", func(s *session.Session) error {
			var err error
			if v, err = s.Arrive("", session.Poll{Ack: s.Position("")}, b.clk.Now()); err == nil && v.Package != nil {
				v, err = s.Arrive("", session.Poll{Ack: v.Package.NextAck}, b.clk.Now())
			}
			if err == nil && v.Package == nil {
				v = s.Release("", v.Ticket, b.clk.Now())
			}
			return err
		}))
		for _, e := range v.Package.Events {
			marks = append(marks, e.GroupRel)
		}
		return marks
	}
	fetch()
	publish := func(f *fixture, address, revision, mark string) {
		require.NoError(t, f.Publish(t.Context(), address, changeOf(address, revision, mark)))
	}
	publish(a, ana, "9-5", "first")
	publish(b, ana, "9-5", "again")
	publish(b, "bo@contoso.com", "9-5", "of another")
	require.Equal(t, []string{"first", "of another"}, fetch())
	publish(b, ana, "9-5", "again")
	publish(b, ana, "9-4", "older")
	require.Empty(t, fetch(), "nor once it was fetched")
	publish(a, ana, "10-1", "newer")
	publish(b, ana, "10-0", "older")
	require.Equal(t, []string{"newer"}, fetch())
	publish(a, ana, "", "without a name")
	require.Equal(t, []string{"without a name"}, fetch())
}

func fetchedElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	a.subscribe(t, "1", "s", ana)
	require.NoError(t, a.Publish(t.Context(), ana, &session.Event{
		Kind: session.ContactPresence, Type: session.Updated, Class: session.Medium, Key: ana, GroupRel: "the last",
	}))
	require.True(t, b.hasTheLast(t, "1"))
	require.False(t, a.hasTheLast(t, "1"))
}

func countedTogether(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	b.create(t, "2")
	b.subscribe(t, "1", "s", ana)
	a.subscribe(t, "2", "s", ana)
	for _, f := range []*fixture{a, b} {
		applications, subscriptions, err := f.Count(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{2, 2}, []int{applications, subscriptions})
	}
}

func waitsElsewhere(t *testing.T, a, b *fixture) {
	a.create(t, "1")
	p, _ := a.park(t, "1", "")
	for range 3 {
		a.clk.Advance(limits.Idle + time.Minute)
		_, err := b.Use(t.Context(), "1")
		require.NoError(t, err)
	}
	p.Close()
	a.clk.Advance(limits.Idle)
	a.clk.Advance(2 * time.Minute)
	requireEnded(t, b.Store, "1", gateway.EndedIdle, "owner1@contoso.com")
}
