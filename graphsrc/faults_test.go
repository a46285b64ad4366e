package graphsrc

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

func TestWhileGraphFailsAReadingIsServedUntilItIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		first, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		g.fail(&Error{Op: "get presence", Kind: KindUnavailable, Status: 503})
		wait(4 * time.Minute)
		r, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		require.True(t, r.Stale)
		require.Equal(t, first.ReadAt, r.ReadAt)
		wait(time.Minute)
		_, err = s.Presence(t.Context(), id(1))
		require.Equal(t, KindUnavailable, errKind(err))
	})
}

func TestADeadGraphCostsFewSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.fail(&Error{Op: "get presence", Kind: KindUnavailable, Status: 503})
		s := start(t, g, &fakeBudget{}, nil)
		for n := range 1000 { // 10 seconds of demand
			go func() { _, _ = s.Presence(context.Background(), id(n)) }()
			wait(10 * time.Millisecond)
		}
		require.Less(t, len(g.requests()), 120)
		g.set(nil)
		wait(2 * time.Second)
		_, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err, "and it recovers")
	})
}

func TestOneFailureIsRepeatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		failed := false
		g.set(func(ids []string) ([]Presence, error) {
			if !failed {
				failed = true
				return nil, &Error{Op: "get presence", Kind: KindUnavailable, Status: 502}
			}
			return []Presence{available(ids[0])}, nil
		})
		b := &fakeBudget{}
		s := start(t, g, b, nil)
		r, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		require.False(t, r.Stale)
		require.Equal(t, 2, b.granted(), "each send has its permit")
	})
}

func TestABadIDIsFoundByHalvingAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		bad := id(123)
		g.set(func(ids []string) ([]Presence, error) {
			if slices.Contains(ids, bad) {
				return nil, &Error{Op: "get presences", Kind: KindInvalid, Status: 400, Code: "BadRequest"}
			}
			var out []Presence
			for _, one := range ids {
				out = append(out, available(one))
			}
			return out, nil
		})
		b := &fakeBudget{}
		s := start(t, g, b, nil)
		for i, r := range s.Presences(t.Context(), people(0, 650)) {
			require.NoError(t, r.Err)
			want := "Available"
			if id(i) == bad {
				want = "PresenceUnknown"
			}
			require.Equal(t, want, r.Reading.Presence.Words.Availability)
		}
		require.LessOrEqual(t, len(g.requests()), 21)
		require.Equal(t, len(g.requests()), b.granted())

		// The first strike doubles the interval, the next doubles it again.
		sent := len(g.requests())
		asked := func(after time.Duration) bool {
			wait(after)
			_, err := s.Presence(t.Context(), bad)
			require.NoError(t, err)
			more := len(g.requests()) > sent
			sent = len(g.requests())
			return more
		}
		require.False(t, asked(39*time.Second))
		require.True(t, asked(time.Second))
		require.False(t, asked(79*time.Second))
		require.True(t, asked(time.Second))
		g.set(nil)
		require.True(t, asked(160*time.Second))
		require.True(t, asked(20*time.Second), "forgiven after one answer")
	})
}

func TestAGraphThatRefusesEverythingIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.set(func(ids []string) ([]Presence, error) {
			return nil, &Error{Op: "get presences", Kind: KindInvalid, Status: 400}
		})
		s := start(t, g, &fakeBudget{}, nil)
		for range 5 {
			s.Presences(t.Context(), people(0, 650))
		}
		require.Less(t, len(g.requests()), 200)
	})
}

func TestAMissingPresencePermissionIsNotAskedAgainForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.fail(&Error{Op: "get presences", Kind: KindForbidden, Status: 403})
		s := start(t, g, &fakeBudget{}, nil)
		for range 5 {
			for _, r := range s.Presences(t.Context(), people(0, 3)) {
				require.Equal(t, KindForbidden, errKind(r.Err))
			}
		}
		require.Len(t, g.requests(), 1)
		require.Equal(t, []string{"Presence.Read.All"}, s.Missing())
		g.set(nil)
		wait(hideFor)
		_, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		require.Empty(t, s.Missing())
	})
}

func TestACallersDeadlineIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{latency: 5 * time.Second}
		s := start(t, g, &fakeBudget{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Presence(ctx, id(1))
		require.Equal(t, KindTimeout, errKind(err))
		require.Equal(t, time.Second, time.Since(began))
		wait(5 * time.Second)
		r, err := s.Presence(t.Context(), id(1))
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(r.ReadAt), "the answer that came later was kept")
	})
}

func TestCloseAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{latency: time.Hour}
		s := start(t, g, &fakeBudget{}, func(o *Options) { o.Timeout = 2 * time.Hour })
		var waiting, queued error
		var wg sync.WaitGroup
		wg.Go(func() { _, waiting = s.Presence(context.Background(), id(1)) })
		wait(time.Second)
		wg.Go(func() { _, queued = s.Presence(context.Background(), id(2)) })
		wait(time.Millisecond)
		s.Close()
		wg.Wait()
		require.Equal(t, KindUnavailable, errKind(waiting))
		require.Equal(t, KindUnavailable, errKind(queued))
		_, err := s.Presence(t.Context(), id(3))
		require.Equal(t, KindUnavailable, errKind(err))
		_, err = s.Lookup(t.Context(), "ana@contoso.com")
		require.Equal(t, KindUnavailable, errKind(err))
	})
}

func TestTheRealBudgetRefusesWhatItCannotServeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := budget.New(budget.Options{})
		require.NoError(t, err)
		defer b.Close()
		s, err := New(Options{Graph: &fakeGraph{}, Budget: b})
		require.NoError(t, err)
		defer s.Close()
		b.Throttled(time.Minute, true)
		_, err = s.Presence(t.Context(), id(1))
		require.Equal(t, KindThrottled, errKind(err))
		wait(2 * time.Minute)
		_, err = s.Presence(t.Context(), id(1))
		require.NoError(t, err)
	})
}
