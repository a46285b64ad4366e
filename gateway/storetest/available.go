package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

const ana = "ana@contoso.com"

func availability(t *testing.T, f *fixture) {
	for _, id := range []string{"1", "2", "3"} {
		mustCreate(t, f.Store, app(id, ana, "endpoint "+id), 10)
	}
	f.requireAvailable(t, ana, false)
	failed := errors.New("refused")
	require.ErrorIs(t, f.Update(t.Context(), "1", func(s *session.Session) error {
		return errors.Join(s.MakeAvailable(session.Availability{Owner: ana}, f.clk.Now()), failed)
	}), failed)
	f.makeAvailable(t, "1", ana)
	f.requireAvailable(t, ana, true)
	f.requireWatched(t, ana, true)
	f.makeAvailable(t, "2", ana)
	require.NoError(t, f.Delete(t.Context(), "3"))
	require.NoError(t, f.Delete(t.Context(), "1"))
	f.requireAvailable(t, ana, true)
	require.ErrorIs(t, f.Update(t.Context(), "2", func(*session.Session) error { return gateway.ErrExpired }), gateway.ErrExpired)
	f.requireAvailable(t, ana, false)
	f.requireWatched(t, ana, false)
}

func ownChange(t *testing.T, f *fixture) {
	for _, id := range []string{"1", "2", "3"} {
		mustCreate(t, f.Store, app(id, ana, "endpoint "+id), 10)
	}
	f.makeAvailable(t, "1", ana)
	f.subscribe(t, "2", "s", ana)
	f.subscribe(t, "3", "s", ana)
	f.makeAvailable(t, "3", ana)
	for _, id := range []string{"1", "2", "3"} {
		p, _ := f.park(t, id, "")
		f.requireAsleep(t, p)
	}
	require.NoError(t, f.Publish(t.Context(), ana, presence(ana)))
	kinds := map[string][]session.Kind{}
	for _, id := range []string{"1", "2", "3"} {
		require.NoError(t, f.Update(t.Context(), id, func(s *session.Session) error {
			v := s.Release("", 0, f.clk.Now())
			require.Nil(t, v.Package)
			v, err := s.Arrive("", session.Poll{Ack: s.Position("")}, f.clk.Now())
			require.NoError(t, err)
			for _, e := range s.Release("", v.Ticket, f.clk.Now()).Package.Events {
				kinds[id] = append(kinds[id], e.Kind)
			}
			return nil
		}))
	}
	require.Equal(t, map[string][]session.Kind{
		"1": {session.OwnPresence}, "2": {session.ContactPresence}, "3": {session.ContactPresence, session.OwnPresence},
	}, kinds)
}

func claims(t *testing.T, f *fixture) {
	now := f.clk.Now()
	until, taken, err := f.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
	require.WithinDuration(t, now.Add(time.Minute), until, time.Millisecond)
	again, taken, err := f.Claim(t.Context(), "k", time.Hour)
	require.NoError(t, err)
	require.False(t, taken)
	require.WithinDuration(t, until, again, time.Millisecond)
	_, taken, err = f.Claim(t.Context(), "another", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)

	require.NoError(t, f.Release(t.Context(), "k"))
	require.NoError(t, f.Release(t.Context(), "never taken"))
	_, taken, err = f.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken)
	f.clk.Advance(time.Minute)
	_, taken, err = f.Claim(t.Context(), "k", time.Minute)
	require.NoError(t, err)
	require.True(t, taken, "a claim ends by itself")
}

func owned(t *testing.T, f *fixture) {
	first, second := app("1", ana, "a"), app("2", ana, "b")
	mustCreate(t, f.Store, first, 10)
	mustCreate(t, f.Store, app("3", "bob@contoso.com", "a"), 10)
	mustCreate(t, f.Store, second, 10)
	list, err := f.Owned(t.Context(), ana)
	require.NoError(t, err)
	require.Equal(t, []gateway.Application{first, second}, list)
	require.NoError(t, f.Delete(t.Context(), "1"))
	list, err = f.Owned(t.Context(), ana)
	require.NoError(t, err)
	require.Equal(t, []gateway.Application{second}, list)
	list, err = f.Owned(t.Context(), "nobody@contoso.com")
	require.NoError(t, err)
	require.Empty(t, list)
}
