package budget

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABudgetStartsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		c := acquireAsync(t.Context(), b, Interactive)
		require.False(t, c.finished())
		require.Equal(t, 1, b.Stats().Waiting[Interactive])
		wait(time.Second)
		require.True(t, c.finished())
		require.NoError(t, c.err)
		require.Equal(t, 22222223*time.Nanosecond, c.took, "the first token at 45 per second, rounded up to the nanosecond")
	})
}

func TestWaitersAreServedFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		var callers []*caller
		for range 20 {
			callers = append(callers, acquireAsync(t.Context(), b, Publish))
		}
		wait(time.Second)
		for i, c := range callers {
			require.True(t, c.finished())
			require.InDelta(t, float64(i+1)/45, c.took.Seconds(), 1e-6)
		}
	})
}

// overload keeps 50 callers waiting in each of the lanes for the time, every one
// of which spends what it gets and comes back.
func overload(t *testing.T, b *Budget, d time.Duration, lanes ...Lane) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, lane := range lanes {
		for range 50 {
			go func() {
				for {
					p, err := b.Acquire(ctx, lane)
					if err != nil {
						return
					}
					b.spend(p)
				}
			}()
		}
	}
	wait(d)
	cancel()
	synctest.Wait()
}

func TestRefreshGetsItsShareUnderInteractiveOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		overload(t, b, 10*time.Minute, Interactive, Refresh)
		sent := b.Stats().Sent
		all := float64(sent[Interactive] + sent[Refresh])
		require.InDelta(t, 0.05, float64(sent[Refresh])/all, 0.001)
		require.Greater(t, all, 0.99*600*45)
	})
}

func TestEveryLaneGetsItsShareWhenAllAreOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		overload(t, b, 10*time.Minute, Interactive, Publish, FirstLook, Refresh)
		sent := b.Stats().Sent
		all := float64(sent[Interactive] + sent[Publish] + sent[FirstLook] + sent[Refresh])
		require.GreaterOrEqual(t, float64(sent[Interactive])/all, 0.9)
		require.InDelta(t, 0.025, float64(sent[Publish])/all, 0.001)
		require.InDelta(t, 0.025, float64(sent[FirstLook])/all, 0.001)
		require.InDelta(t, 0.05, float64(sent[Refresh])/all, 0.001)
	})
}

func TestALoneInteractiveRequestNeverWaitsForRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		go overload(t, b, time.Minute, Refresh)
		wait(10 * time.Second)
		for range 20 {
			c := acquireAsync(t.Context(), b, Interactive)
			require.True(t, c.finished(), "the reserve has a token for it")
			require.Zero(t, c.took)
			c.permit.Return()
			wait(50 * time.Millisecond)
		}
		wait(time.Minute)
	})
}

func TestRefreshIsNotStarvedByInteractiveRequestsThatNeverQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(100 * time.Millisecond) // 4.5 tokens: below what Refresh leaves in the bucket
		refresh := acquireAsync(t.Context(), b, Refresh)
		for range 60 {
			c := acquireAsync(t.Context(), b, Interactive)
			wait(24 * time.Millisecond) // as fast as the refill: the reserve never fills up
			require.True(t, c.finished())
			b.spend(c.permit)
		}
		require.True(t, refresh.finished(), "its share let it pass")
		require.Less(t, refresh.took, 600*time.Millisecond)
	})
}

func TestAHopelessDeadlineIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		for range 90 {
			acquireAsync(t.Context(), b, Interactive)
		}
		within := func(d time.Duration, lane Lane) *caller {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return acquireAsync(ctx, b, lane)
		}
		refused := func(c *caller) time.Duration {
			t.Helper()
			require.True(t, c.finished())
			var e *ExhaustedError
			require.ErrorAs(t, c.err, &e)
			require.Zero(t, c.took)
			return e.RetryAfter
		}
		require.InDelta(t, 91.0/45, refused(within(2*time.Second, Interactive)).Seconds(), 1e-6)
		require.InDelta(t, 20.0/45, refused(within(100*time.Millisecond, Publish)).Seconds(), 1e-6, "by its share, after 19 others")
		require.InDelta(t, 10.0/45, refused(within(222*time.Millisecond, Refresh)).Seconds(), 1e-6, "by its share, after 9 others")

		// Exactly at the token is too late, a nanosecond more is not.
		token := refused(within(2*time.Second, Interactive))
		require.Equal(t, token, refused(within(token, Interactive)))
		c := within(token+1, Interactive)
		require.False(t, c.finished())
		wait(token + 1)
		require.True(t, c.finished())
		require.NoError(t, c.err)
		require.Equal(t, token, c.took)
	})
}

func TestADeadlineInThePastIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(jumpyClock)
		b := newBudget(t, Options{Clock: c})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.jump(time.Hour) // the deadline is over by our clock, and not yet by the context's
		wait(time.Second / 2)
		for range 100 {
			mustSpend(t, b, Interactive)
		}
		_, err := b.Acquire(ctx, Interactive)
		var e *ExhaustedError
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, "interactive")
		require.Positive(t, e.RetryAfter)
	})
}

func TestAForecastLooksThroughTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 240*time.Millisecond)
		defer cancel()
		_, err := b.Acquire(ctx, Refresh)
		var e *ExhaustedError
		require.ErrorAs(t, err, &e)
		require.InDelta(t, 11.0/45, e.RetryAfter.Seconds(), 1e-6)
	})
}

func TestACancelledWaiterLeavesWithoutBurningAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		first := acquireAsync(t.Context(), b, Interactive)
		second := acquireAsync(t.Context(), b, Interactive)
		first.cancel()
		require.True(t, first.finished())
		require.ErrorIs(t, first.err, context.Canceled)
		wait(23 * time.Millisecond)
		require.True(t, second.finished(), "has moved up")
		second.permit.Return()
		wait(77 * time.Millisecond)
		require.InDelta(t, 4.5, b.Stats().Tokens, 1e-9)
	})
}

func TestAGrantRacingWithACancellationIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		c := acquireAsync(t.Context(), b, Interactive)
		b.mu.Lock()
		c.cancel() // the caller wakes, and comes too late to leave the queue
		b.bucket.level = unit
		b.dispatch(b.settle())
		b.mu.Unlock()
		require.True(t, c.finished())
		require.ErrorIs(t, c.err, context.Canceled)
		s := b.Stats()
		require.Zero(t, s.Held)
		require.InDelta(t, 1, s.Tokens, 1e-9)
	})
}

func TestAcquireWithAnEndedContextOrNoSuchLane(t *testing.T) {
	b := newBudget(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Acquire(ctx, Interactive)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Acquire(t.Context(), 4)
	require.ErrorContains(t, err, "no lane 4")
}

func TestAReturnedPermitGoesToWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(30 * time.Millisecond) // 1.35 tokens
		p, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		c := acquireAsync(t.Context(), b, Interactive)
		require.False(t, c.finished())
		p.Return()
		require.True(t, c.finished())
		require.NoError(t, c.err)
		require.Zero(t, c.took)

		p.Return()
		p.Return()
		(*Permit)(nil).Return()
		require.Equal(t, 1, b.Stats().Held, "returning twice changes nothing")
		require.InDelta(t, 0.35, b.Stats().Tokens, 1e-9)
		_, ok := b.spend(p)
		require.False(t, ok, "a returned permit is worth nothing")
		_, ok = b.spend(c.permit)
		require.True(t, ok)
		c.permit.Return()
		require.InDelta(t, 0.35, b.Stats().Tokens, 1e-9, "returning a spent one changes nothing")
	})
}

func TestReturnsNeverLiftTheBucketAboveItsCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		var held []*Permit
		for range 80 {
			p, err := b.Acquire(t.Context(), Interactive)
			require.NoError(t, err)
			held = append(held, p)
		}
		wait(4 * time.Second)
		require.InDelta(t, 20, b.Stats().Tokens, 1e-9)
		for _, p := range held {
			p.Return()
		}
		require.InDelta(t, 100, b.Stats().Tokens, 1e-9)
	})
}

func TestAForgottenPermitGoesBackByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		var held []*Permit
		for range 100 {
			p, err := b.Acquire(t.Context(), Interactive)
			require.NoError(t, err)
			held = append(held, p)
		}
		c := acquireAsync(t.Context(), b, Interactive)
		wait(permitLife - 1)
		require.False(t, c.finished(), "all the capacity is held")
		wait(1)
		require.True(t, c.finished())
		require.NoError(t, c.err)
		for _, p := range held {
			_, ok := b.spend(p)
			require.False(t, ok)
		}
		require.InDelta(t, 99, b.Stats().Tokens, 1e-9)
	})
}

func TestReturningAnExpiredPermitChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(10 * time.Second)
		p, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		wait(permitLife) // nothing looks at the budget meanwhile
		p.Return()
		require.InDelta(t, 100, b.Stats().Tokens, 1e-9)
		require.Zero(t, b.Stats().Held)
	})
}

func TestASendMakesRoomForAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{Plan: Plan{Limit: 1500, Window: 30 * time.Second, Capacity: 1, Rate: 45}})
		wait(time.Second)
		p, err := b.Acquire(t.Context(), Refresh)
		require.NoError(t, err, "with so small a bucket Refresh leaves nothing in it")
		c := acquireAsync(t.Context(), b, Interactive)
		wait(time.Second)
		require.False(t, c.finished())
		_, ok := b.spend(p)
		require.True(t, ok)
		wait(23 * time.Millisecond)
		require.True(t, c.finished())
		require.NoError(t, c.err)
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(30 * time.Millisecond)
		held, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		var waiters []*caller
		for lane := range Lane(LaneCount) {
			waiters = append(waiters, acquireAsync(t.Context(), b, lane))
		}
		b.Close()
		b.Close()
		for _, c := range waiters {
			require.True(t, c.finished())
			require.ErrorIs(t, c.err, ErrClosed)
		}
		_, ok := b.spend(held)
		require.False(t, ok)
		held.Return()
		_, err = b.Acquire(t.Context(), Interactive)
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := DefaultPlan()
		p.OtherPrograms = 5
		b := newBudget(t, Options{Plan: p})
		wait(10 * time.Second)
		for range 3 {
			mustSpend(t, b, Publish)
		}
		_, err := b.Acquire(t.Context(), Interactive)
		require.NoError(t, err)
		require.Equal(t, Stats{
			Tokens: 96, Held: 1, Rate: 45, PlanRate: 45, Sent: [LaneCount]uint64{Publish: 3},
			WorstWindow: 3, InWindow: 3, Remaining: 1492,
		}, b.Stats())
		wait(time.Minute)
		s := b.Stats()
		require.Equal(t, []int{3, 0, 1495}, []int{s.WorstWindow, s.InWindow, s.Remaining})
	})
}
