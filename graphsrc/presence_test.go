package graphsrc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

// askAll asks for every id at the same moment, each in a goroutine of its own.
func askAll(s *Source, ids []string) []Result {
	out := make([]Result, len(ids))
	var wg sync.WaitGroup
	for i, one := range ids {
		wg.Go(func() { out[i].Reading, out[i].Err = s.Presence(context.Background(), one) })
	}
	wg.Wait()
	return out
}

func people(from, to int) []string {
	var out []string
	for n := from; n < to; n++ {
		out = append(out, id(n))
	}
	return out
}

func TestALoneIDLeavesAtOnceByGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		began := time.Now()
		r, err := s.Presence(t.Context(), strings.ToUpper(id(1)))
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.Equal(t, [][]string{{id(1)}}, g.requests())
		require.Zero(t, g.posts)
		require.Equal(t, id(1), r.Presence.ID)
		require.Equal(t, "Available", r.Presence.Words.Availability)
		require.Equal(t, time.Now(), r.ReadAt)
		require.True(t, r.LastActive.Equal(time.Now()))
		require.False(t, r.Stale)
	})
}

func TestManyCallersAtOnceBecomeFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{latency: 50 * time.Millisecond}
		s := start(t, g, &fakeBudget{}, nil)
		// 500 callers, 250 people, each asked for twice.
		for _, r := range askAll(s, append(people(0, 250), people(0, 250)...)) {
			require.NoError(t, r.Err)
		}
		require.LessOrEqual(t, len(g.requests()), 2)
		var ids []string
		for _, b := range g.requests() {
			ids = append(ids, b...)
		}
		slices.Sort(ids)
		require.Equal(t, people(0, 250), ids, "each person once")
	})
}

func TestSomebodyAskedForTwiceInOneCallIsOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		got := s.Presences(t.Context(), []string{id(1), "nonsense", strings.ToUpper(id(1)), id(2)})
		require.NoError(t, got[0].Err)
		require.Equal(t, KindInvalid, errKind(got[1].Err))
		require.NoError(t, got[2].Err)
		require.Equal(t, id(2), got[3].Reading.Presence.ID)
		require.Equal(t, [][]string{{id(1), id(2)}}, g.requests())
	})
}

func TestMoreThanABatchIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{latency: time.Millisecond}
		s := start(t, g, &fakeBudget{}, nil)
		for _, r := range s.Presences(t.Context(), people(0, 1500)) {
			require.NoError(t, r.Err)
		}
		var sizes []int
		for _, b := range g.requests() {
			sizes = append(sizes, len(b))
		}
		require.Equal(t, []int{650, 650, 200}, sizes)
	})
}

func TestBatchesFillWhileTheBudgetIsShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		b := &fakeBudget{open: make(chan struct{})}
		s := start(t, g, b, nil)
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				_, err := s.Presence(context.Background(), id(n))
				require.NoError(t, err)
			})
			wait(20 * time.Millisecond) // far apart: no window would gather them
		}
		require.Empty(t, g.requests())
		close(b.open)
		wg.Wait()
		require.Len(t, g.requests(), 1)
		require.Len(t, g.requests()[0], 100)
		require.Equal(t, 1, b.granted())
	})
}

func TestAFreshReadingIsAnsweredFromMemoryUntilItIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		ask := func() {
			_, err := s.Presence(t.Context(), id(1))
			require.NoError(t, err)
		}
		ask()
		wait(19 * time.Second)
		ask()
		require.Len(t, g.requests(), 1)
		wait(time.Second)
		ask()
		require.Len(t, g.requests(), 2)
	})
}

func TestOneCallerLeavingDoesNotCancelTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{latency: time.Second}
		s := start(t, g, &fakeBudget{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var left, stayed error
		var wg sync.WaitGroup
		wg.Go(func() { _, left = s.Presence(ctx, id(1)) })
		wg.Go(func() { _, stayed = s.Presence(context.Background(), id(1)) })
		wait(100 * time.Millisecond)
		cancel()
		synctest.Wait()
		require.ErrorIs(t, left, context.Canceled)
		wg.Wait()
		require.NoError(t, stayed)
		require.Len(t, g.requests(), 1)
	})
}

func TestABatchWhoseCallersHaveGoneCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		b := &fakeBudget{open: make(chan struct{})}
		s := start(t, g, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() { _, _ = s.Presence(ctx, id(n)) })
		}
		wait(100 * time.Millisecond)
		cancel()
		wg.Wait()
		close(b.open)
		wait(time.Second)
		require.Empty(t, g.requests())
		require.Zero(t, b.granted())
		// The lane still works.
		_, err := s.Presence(t.Context(), id(3))
		require.NoError(t, err)
	})
}

func TestCallersWhomTheBudgetCannotServeAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{refuse: &budget.ExhaustedError{RetryAfter: 12 * time.Second}}, nil)
		began := time.Now()
		for _, r := range askAll(s, people(0, 20)) {
			var e *Error
			require.ErrorAs(t, r.Err, &e)
			require.Equal(t, KindThrottled, e.Kind)
			require.Equal(t, CodeBudget, e.Code)
			require.Equal(t, 12*time.Second, e.RetryAfter)
		}
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestALaneIsTheCallersAndIdsRideAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		b := &fakeBudget{open: make(chan struct{})}
		s := start(t, g, b, nil)
		var wg sync.WaitGroup
		wg.Go(func() { s.Presences(budget.WithLane(context.Background(), budget.Refresh), people(0, 10)) })
		wait(50 * time.Millisecond)
		wg.Go(func() { s.Presences(context.Background(), people(5, 15)) })
		wait(50 * time.Millisecond)
		close(b.open)
		wg.Wait()
		require.Len(t, g.requests(), 1)
		require.Len(t, g.requests()[0], 15)
	})
}

func TestRepliesAreToldApartByIDAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.set(func(ids []string) ([]Presence, error) {
			out := []Presence{available(newID()), {ID: "rubbish"}} // foreign
			for _, one := range slices.Backward(ids) {             // permuted
				if one != id(3) { // missing
					out = append(out, available(strings.ToUpper(one)))
				}
			}
			return append(out, out[2]), nil // doubled
		})
		s := start(t, g, &fakeBudget{}, nil)
		got := s.Presences(t.Context(), people(0, 6))
		for i, r := range got {
			require.NoError(t, r.Err)
			require.Equal(t, id(i), r.Reading.Presence.ID)
		}
		require.Equal(t, "PresenceUnknown", got[3].Reading.Presence.Words.Availability)
		require.Equal(t, "Available", got[5].Reading.Presence.Words.Availability)
		require.EqualValues(t, 1, s.Stats().Missing)
		require.EqualValues(t, 2, s.Stats().Foreign)
	})
}

func TestALowerSequenceNumberIsBelievedTheThirdTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		read := func(availability, sequence string) string {
			g.say(availability, sequence)
			wait(20 * time.Second)
			r, err := s.Presence(t.Context(), id(1))
			require.NoError(t, err)
			return r.Presence.Words.Availability
		}
		require.Equal(t, "Busy", read("Busy", "A20"))
		require.Equal(t, "Busy", read("Away", "A19"))
		require.Equal(t, "Away", read("Away", "A21"), "a higher one ends the row")
		require.Equal(t, "Away", read("Busy", "A11"))
		require.Equal(t, "Away", read("Busy", "A11"))
		require.Equal(t, "Busy", read("Busy", "A11"))
		require.Equal(t, "Offline", read("Offline", "A9"), "other length: order of arrival")
		require.Equal(t, "Away", read("Away", ""), "no stamp: order of arrival")
		require.EqualValues(t, 3, s.Stats().Regressions)
	})
}

func TestUnknownIsHeldBackForOneInterval(t *testing.T) {
	for _, word := range []string{"presenceunknown", ""} {
		t.Run(fmt.Sprintf("said as %q", word), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGraph{}
				s := start(t, g, &fakeBudget{}, nil)
				read := func() Reading {
					r, err := s.Presence(t.Context(), id(1))
					require.NoError(t, err)
					return r
				}
				good := read()
				g.say(word, "")
				wait(20 * time.Second)
				held := read()
				require.Equal(t, "Available", held.Presence.Words.Availability)
				require.Equal(t, good.ReadAt, held.ReadAt)
				require.False(t, held.Stale)
				wait(20 * time.Second)
				require.Equal(t, word, read().Presence.Words.Availability)
				require.True(t, read().LastActive.Equal(good.LastActive))
			})
		})
	}
}

func TestOptionsThatMakeNoSenseAreAllNamed(t *testing.T) {
	_, err := New(Options{})
	require.Error(t, err)
	_, err = New(Options{Graph: &fakeGraph{}, Budget: &fakeBudget{}, Fresh: -1, CacheSize: -1})
	require.ErrorContains(t, err, "Fresh")
	require.ErrorContains(t, err, "CacheSize")
	_, err = New(Options{Graph: &fakeGraph{}, Budget: &fakeBudget{}, Fresh: time.Minute, Stale: time.Second})
	require.ErrorContains(t, err, "Stale")
}

func TestErrorsKeepTheirCause(t *testing.T) {
	cause := errors.New("cause")
	e := asError("op", fmt.Errorf("sending: %w", &Error{Op: "inner", Kind: KindGone, Err: cause}))
	require.Equal(t, KindGone, e.Kind)
	require.ErrorIs(t, e, cause)
	e = asError("op", &Error{Kind: KindUnavailable, Err: &budget.ExhaustedError{RetryAfter: time.Second}})
	require.Equal(t, KindThrottled, e.Kind)
	require.Equal(t, time.Second, e.RetryAfter)
}

func BenchmarkPresenceFromMemory(b *testing.B) {
	s := start(b, &fakeGraph{}, &fakeBudget{}, nil)
	ids := people(0, 1000)
	s.Presences(b.Context(), ids)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Presence(context.Background(), ids[i%len(ids)]); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestAHitDoesNotAllocate(t *testing.T) {
	s := start(t, &fakeGraph{fakeDirectory: fakeDirectory{users: []User{ana}}}, &fakeBudget{}, nil)
	ctx := t.Context()
	_, err := s.Presence(ctx, id(1))
	require.NoError(t, err)
	one := id(1)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Presence(ctx, one) }))
	_, err = s.Lookup(ctx, "ana@contoso.com")
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Lookup(ctx, "ana@contoso.com") }))
}
