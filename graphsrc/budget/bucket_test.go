package budget

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const second = int64(time.Second)

func TestRefillIsExactHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultPlan()
		p.Rate = rapid.Float64Range(0.01, 45).Draw(t, "rate")
		whole, pieces := newBucket(p, 0), newBucket(p, 0)
		whole.rate, pieces.rate = whole.floor, pieces.floor // climbing on the way
		whole.raiseAt, pieces.raiseAt = whole.window, pieces.window
		now := int64(0)
		for _, d := range rapid.SliceOfN(rapid.Int64Range(0, 20*second), 1, 20).Draw(t, "pieces") {
			now += d
			pieces.refill(now)
		}
		whole.refill(now)
		if whole != pieces {
			t.Fatalf("at once %+v, in pieces %+v", whole, pieces)
		}
	})
}

func TestForecastNamesTheFirstMomentOfAToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultPlan()
		p.Rate = rapid.Float64Range(0.01, 45).Draw(t, "rate")
		b := newBucket(p, 0)
		b.level = rapid.Int64Range(-3*unit, 10*unit).Draw(t, "level")
		if rapid.Bool().Draw(t, "throttled") {
			b.shut(rapid.Int64Range(0, 100*second).Draw(t, "pause"))
			for range rapid.IntRange(1, 5).Draw(t, "cuts") {
				b.cut()
			}
		}
		tokens := rapid.Int64Range(1, int64(p.Capacity)).Draw(t, "tokens")
		at := b.eta(tokens)
		if at > 0 {
			before := b
			before.refill(at - 1)
			if before.has(tokens) {
				t.Fatalf("%d tokens forecast for %d were there before", tokens, at)
			}
		}
		b.refill(at)
		if !b.has(tokens) {
			t.Fatalf("%d tokens forecast for %d are not there: %+v", tokens, at, b)
		}
	})
}

func TestHeldPermitsTakeRoomInTheBucket(t *testing.T) {
	b := newBucket(DefaultPlan(), 0)
	b.refill(10 * second)
	require.EqualValues(t, 100*unit, b.level)
	for range 60 {
		b.grant()
	}
	b.refill(100 * second)
	require.EqualValues(t, 40*unit, b.level, "level and held together stay at the capacity")
	for range 60 {
		b.putBack()
	}
	require.EqualValues(t, 100*unit, b.level)
}

func TestRateChangesMintNothingForTimeBefore(t *testing.T) {
	b := newBucket(DefaultPlan(), 0)
	b.shut(10 * second)
	b.cut()
	b.refill(11 * second)
	require.EqualValues(t, 22_500_000_000_000, b.level, "22.5 tokens in the first second after the pause, none in it")

	b.level = 0
	b.refill(40 * second)
	require.EqualValues(t, 27_000, b.rate, "a quiet window gives a tenth back")
	b.level = 0
	b.refill(41 * second)
	require.EqualValues(t, 27*unit, b.level)

	b.refill(42 * second)
	b.level = 0
	b.refill(40*second + 31*second) // one second beyond the next step
	require.EqualValues(t, 100*unit, b.level)
	b.refill(1000 * second)
	require.EqualValues(t, 45_000, b.rate, "never above the plan")
}

func TestClockJumpsMintAtMostTheCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(jumpyClock)
		b := newBudget(t, Options{Clock: c})
		wait(time.Second)
		require.InDelta(t, 45, b.Stats().Tokens, 1e-9)

		c.jump(-time.Hour)
		require.InDelta(t, 45, b.Stats().Tokens, 1e-9, "a step back mints nothing")
		wait(time.Second)
		require.InDelta(t, 90, b.Stats().Tokens, 1e-9, "and time goes on from there")

		c.jump(300 * time.Hour)
		require.InDelta(t, 100, b.Stats().Tokens, 1e-9, "a jump ahead fills the bucket")
		for range 100 {
			mustSpend(t, b, Interactive)
		}
		c.jump(-400 * time.Hour)
		require.Zero(t, b.Stats().Tokens)
		require.Equal(t, 100, b.Stats().InWindow, "a step back forgets no send")
	})
}

func TestAWaiterSurvivesClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(jumpyClock)
		b := newBudget(t, Options{Clock: c})
		waiter := acquireAsync(t.Context(), b, Interactive)
		c.jump(-time.Hour)
		wait(100 * time.Millisecond)
		require.True(t, waiter.finished())
		require.NoError(t, waiter.err)
	})
}

func TestWindowCountsBothEnds(t *testing.T) {
	w := window{span: 10}
	for _, at := range []int64{0, 1, 5, 10} {
		w.add(at)
	}
	require.Equal(t, 4, w.worst)
	require.Equal(t, 3, w.count(11))
	require.Equal(t, 1, w.count(20))
	require.Equal(t, 0, w.count(21))
	require.Equal(t, 4, w.worst)
}

func TestWindowEqualsCountingAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window{span: 50}
		var times []int64
		now, worst := int64(0), 0
		for _, d := range rapid.SliceOfN(rapid.Int64Range(0, 30), 1, 300).Draw(t, "steps") {
			now += d
			times = append(times, now)
			n := 0
			for _, at := range times {
				if at >= now-50 {
					n++
				}
			}
			worst = max(worst, n)
			w.add(now)
			if got := w.count(now); got != n || w.worst != worst {
				t.Fatalf("count %d, worst %d; want %d, %d", got, w.worst, n, worst)
			}
		}
		if len(w.times) > 2*(len(w.times)-w.head)+2 {
			t.Fatalf("keeps %d times for %d", len(w.times), len(w.times)-w.head)
		}
	})
}
