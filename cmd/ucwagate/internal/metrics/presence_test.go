package metrics

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
)

func TestTheExpectedAgeIsHalfTheIntervalWeighedByPeople(t *testing.T) {
	require.Zero(t, expectedAge(&graphsrc.Stats{}))
	require.Equal(t, 17500*time.Millisecond, expectedAge(&graphsrc.Stats{
		Hot:    graphsrc.TierStats{People: 1, Interval: 10 * time.Second},
		Normal: graphsrc.TierStats{People: 1, Interval: 20 * time.Second},
		Pushed: graphsrc.TierStats{People: 2, Interval: 55 * time.Second},
	}))
}

// sorted are ages in ascending order, told without rounding.
type sorted []time.Duration

func (s sorted) Count() uint64 { return uint64(len(s)) }

func (s sorted) Quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[max(int(math.Ceil(q*float64(len(s))))-1, 0)]
}

func TestBucketsHoldTheAgesBelowTheirLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ages := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{
			0, time.Millisecond, 500 * time.Millisecond, 501 * time.Millisecond, 20 * time.Second, 21 * time.Second, time.Hour,
		}), 0, 400).Draw(t, "ages")
		slices.Sort(ages)
		n, sum, buckets := distribution(sorted(ages))
		want := 0.0
		for _, age := range ages {
			want += age.Seconds()
		}
		if n != uint64(len(ages)) || math.Abs(sum-want) > 1e-6*(1+want) {
			t.Fatalf("%d ages are %d, their sum %v is %v", len(ages), n, want, sum)
		}
		if len(buckets) != len(ageLimits) {
			t.Fatalf("there are %d buckets", len(buckets))
		}
		for _, limit := range ageLimits {
			var below uint64
			for _, age := range ages {
				if age <= limit {
					below++
				}
			}
			if got := buckets[limit.Seconds()]; got != below {
				t.Fatalf("%d ages are below %s, not %d", below, limit, got)
			}
		}
	})
}

// steady is a tenant where nothing ever changes and answers take no time.
type steady struct{ graphsrc.Graph }

func (steady) Presence(_ context.Context, id string) (graphsrc.Presence, error) {
	return graphsrc.Presence{ID: id}, nil
}

func TestAgesServedByASourceAreInTheirBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := budget.New(budget.Options{})
		require.NoError(t, err)
		defer b.Close()
		source, err := graphsrc.New(graphsrc.Options{Graph: steady{}, Budget: b})
		require.NoError(t, err)
		defer source.Close()
		ask := func() {
			_, err := source.Presence(t.Context(), "00000000-0000-0000-0000-000000000001")
			require.NoError(t, err)
		}
		ask()
		for _, pause := range []time.Duration{900 * time.Millisecond, 3 * time.Second, 12 * time.Second} {
			<-time.After(pause)
			ask()
		}
		stats := source.Stats()
		n, sum, buckets := distribution(&stats.Served)
		require.EqualValues(t, 4, n)
		for limit, want := range map[time.Duration]uint64{
			500 * time.Millisecond: 1, time.Second: 2, 2500 * time.Millisecond: 2, 5 * time.Second: 3, 10 * time.Second: 3, 20 * time.Second: 4, 15 * time.Minute: 4,
		} {
			require.Equal(t, want, buckets[limit.Seconds()], limit)
		}
		require.InEpsilon(t, 0.9+3.9+15.9, sum, 0.125)
		require.GreaterOrEqual(t, sum, 0.9+3.9+15.9)
	})
}
