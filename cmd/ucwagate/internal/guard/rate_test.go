package guard

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/clock"
)

func TestOneNameHasSoManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(60, 10, clock.System())
		for range 10 {
			_, ok := r.Take("ana", 1)
			require.True(t, ok)
		}
		wait, ok := r.Take("ana", 1)
		require.False(t, ok)
		require.InDelta(t, 1, wait.Seconds(), 0.01)
		_, ok = r.Take("bo", 10)
		require.True(t, ok, "another name")
		wait, ok = r.Take("ana", 5)
		require.False(t, ok)
		require.InDelta(t, 5, wait.Seconds(), 0.01)
		<-time.After(wait)
		_, ok = r.Take("ana", 5)
		require.True(t, ok, "after the time that was named")
		wait, ok = r.Take("bo", 100)
		require.False(t, ok, "never so many at once")
		require.LessOrEqual(t, wait, 10*time.Second)
	})
}

func TestNoRateAdmitsEverything(t *testing.T) {
	r := NewRate(0, 10, clock.System())
	for range 1000 {
		_, ok := r.Take("ana", 1)
		require.True(t, ok)
	}
}

func TestMemoryOfNamesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1, 2, clock.System())
		count := func() (n int) {
			for i := range r.shards {
				n += len(r.shards[i].buckets)
			}
			return n
		}
		_, _ = r.Take("ana", 2)
		for i := range 2 * shards * perShard {
			r.Take(strconv.Itoa(i), 1)
		}
		require.LessOrEqual(t, count(), shards*perShard)
		_, ok := r.Take("ana", 1)
		require.False(t, ok, "who has used up theirs is not forgotten for the sake of others")
		<-time.After(time.Hour)
		for i := range shards * perShard / 2 {
			r.Take("later"+strconv.Itoa(i), 1)
			<-time.After(time.Second)
		}
		require.Less(t, count(), shards*perShard/2, "idle names leave while others come")
	})
}

func TestNobodyGetsMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perMinute, burst := rapid.IntRange(1, 600).Draw(rt, "per minute"), rapid.IntRange(1, 50).Draw(rt, "burst")
		synctest.Test(t, func(t *testing.T) {
			r := NewRate(perMinute, burst, clock.System())
			began, taken := time.Now(), 0
			for range 200 {
				n := rapid.IntRange(1, burst).Draw(rt, "n")
				wait, ok := r.Take("ana", n)
				if ok {
					taken += n
				} else {
					<-time.After(wait)
					_, ok = r.Take("ana", n)
					require.True(t, ok)
					taken += n
				}
				require.LessOrEqual(t, float64(taken), float64(burst)+time.Since(began).Minutes()*float64(perMinute)+0.01)
			}
		})
	})
}

func TestManyAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1, 100, clock.System())
		var all sync.WaitGroup
		var admitted atomic.Int64
		for range 50 {
			all.Go(func() {
				for range 20 {
					if _, ok := r.Take("ana", 1); ok {
						admitted.Add(1)
					}
				}
			})
		}
		all.Wait()
		require.Equal(t, int64(100), admitted.Load())
	})
}

// BenchmarkTake is on the way of every request of a signed-in user.
func BenchmarkTake(b *testing.B) {
	r := NewRate(1e9, 1e9, clock.System())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Take("ana@contoso.test", 1)
		}
	})
}
