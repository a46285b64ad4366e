package graphsrc

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// planned makes the plan for people by tier as the refresher does.
func planned(counts [tierCount]int, floor, ceiling time.Duration, rate float64) plan {
	c := newCache(1, floor, time.Unix(0, 0), &counters{})
	w := newWatchlist(c)
	copy(w.tiers[:], counts[:])
	r := refresher{list: w, floor: floor, ceiling: ceiling, rate: rate, safetyNet: 5 * time.Minute}
	return r.plan()
}

func TestIntervalsOfTheTiers(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		counts  [tierCount]int
		rate    float64
		ceiling time.Duration
		want    [tierCount]time.Duration
		bound   time.Duration
	}{
		"nobody is watched":                                        {[3]int{}, 1, 300 * s, [3]time.Duration{20 * s, 20 * s, 20 * s}, 50 * s},
		"the budget suffices for everybody":                        {[3]int{500, 500, 12_000}, 1, 300 * s, [3]time.Duration{20 * s, 20 * s, 20 * s}, 50 * s},
		"and just so":                                              {[3]int{1000, 2000, 10_000}, 1, 300 * s, [3]time.Duration{20 * s, 20 * s, 20 * s}, 50 * s},
		"a little less, and only quiet ones wait":                  {[3]int{1000, 2000, 10_650}, 1, 300 * s, [3]time.Duration{20 * s, 20 * s, 21_300 * time.Millisecond}, 51 * s},
		"all are alike: somebody hot would be read twice as often": {[3]int{0, 65_000, 0}, 1, 300 * s, [3]time.Duration{50 * s, 100 * s, 200 * s}, 300 * s},
		"all are hot, which is no privilege":                       {[3]int{65_000, 0, 0}, 1, 300 * s, [3]time.Duration{100 * s, 200 * s, 200 * s}, 300 * s},
		"most are quiet":                                           {[3]int{6500, 13_000, 45_500}, 1, 300 * s, [3]time.Duration{37_500 * time.Millisecond, 75 * s, 150 * s}, 250 * s},
		"quiet ones never wait for more than two sweeps":           {[3]int{32_500, 0, 32_500}, 1, 300 * s, [3]time.Duration{66_666_666_667, 133_333_333_334, 200 * s}, 300 * s},
		"nor beyond the ceiling":                                   {[3]int{6500, 13_000, 45_500}, 1, 120 * s, [3]time.Duration{48_000 * time.Millisecond, 96 * s, 120 * s}, 220 * s},
		"beyond the ceiling all are equal":                         {[3]int{6500, 13_000, 45_500}, 1, 90 * s, [3]time.Duration{100 * s, 100 * s, 100 * s}, 250 * s},
	} {
		t.Run(name, func(t *testing.T) {
			p := planned(c.counts, 20*s, c.ceiling, c.rate)
			for i := range tierCount {
				require.InDelta(t, c.want[i], p.tiers[i], float64(time.Microsecond), "tier %d: %s", i, p.tiers[i])
			}
			require.InDelta(t, c.bound, p.bound(), float64(time.Microsecond), p.bound())
		})
	}
}

func TestWhoseChangesArePushedCostsTheSafetyNetOnly(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		others, pushed int
		rate           float64
		want           plan
	}{
		"all of 6,500 are read in 15 sweeps":   {0, 6500, 1, plan{readings: 434, batches: 1, interval: 20 * s}},
		"some more beside others":              {12_000, 6500, 1, plan{readings: 12_434, batches: 20, interval: 20 * s}},
		"more in a sweep that takes longer":    {65_000, 6500, 1, plan{readings: 67_200, batches: 104, interval: 104 * s}},
		"like everybody where a sweep is long": {65_000, 6500, 0.1, plan{readings: 71_500, batches: 110, interval: 1100 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan{floor: 20 * s}
			p.counts[tierNormal], p.counts[tierPushed] = c.others, c.pushed
			p.fit(300*s, func(n int) time.Duration { return time.Duration(float64(n) / c.rate * float64(s)) })
			p.share(1200 * s)
			require.Equal(t, c.others+c.pushed, p.people)
			require.InDelta(t, c.want.readings, p.readings, 60)
			require.Equal(t, c.want.batches, p.batches)
			require.Equal(t, c.want.interval, p.interval)
			require.Equal(t, max(300*s, p.interval), p.tiers[tierPushed])
			require.LessOrEqual(t, p.demand()*float64(s), c.rate*maxBatch*(1+1e-9), "the rate is kept")
			require.Equal(t, p.interval+max(p.tiers[tierPushed], p.tiers[tierQuiet], slack(p.tiers[tierHot])), p.bound())
		})
	}
}

// slowTiers finds the intervals in another way: between two neighbours among the
// bases at which a tier reaches one of its limits, the demand is a/base + b.
func slowTiers(p *plan, ceiling time.Duration) [tierCount]float64 {
	floor, sweep := float64(p.floor), float64(p.interval)
	limit := max(sweep, min(2*sweep, float64(ceiling)))
	at := func(base float64) (tiers [tierCount]float64) {
		for t := range tiers {
			tiers[t] = min(max(base*math.Pow(2, float64(t)), floor), limit)
		}
		return tiers
	}
	demand := func(base float64) (sum float64) {
		for t, interval := range at(base) {
			sum += float64(p.counts[t]) / interval
		}
		return sum
	}
	var bends []float64
	for t := range tierCount {
		bends = append(bends, floor/math.Pow(2, float64(t)), limit/math.Pow(2, float64(t)))
	}
	slices.Sort(bends)
	most := float64(p.people) / sweep
	for i, bend := range bends {
		if demand(bend) > most*(1+1e-9) {
			continue
		}
		if i == 0 {
			return at(bend)
		}
		a, b := 0.0, 0.0
		for t, interval := range at((bends[i-1] + bend) / 2) {
			if interval > floor && interval < limit {
				a += float64(p.counts[t]) / math.Pow(2, float64(t))
			} else {
				b += float64(p.counts[t]) / interval
			}
		}
		if a == 0 {
			return at(bends[i-1])
		}
		return at(a / (most - b))
	}
	return at(limit)
}

func TestThePlanIsThatOfASlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var counts [tierCount]int
		for i := range counts {
			counts[i] = rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 1000), rapid.IntRange(1, 300_000)).Draw(t, "people")
		}
		floor := time.Duration(rapid.IntRange(1, 600).Draw(t, "floor")) * time.Second
		ceiling := floor + time.Duration(rapid.IntRange(0, 3600).Draw(t, "more"))*time.Second
		rate := rapid.Float64Range(0.01, 100).Draw(t, "rate")
		p := planned(counts, floor, ceiling, rate)
		if p.people == 0 {
			return
		}
		for i, want := range slowTiers(&p, ceiling) {
			if math.Abs(want-float64(p.tiers[i])) > 100+want*1e-6 && p.tiered() {
				if counts[i] > 0 || want < float64(p.tiers[i]) {
					t.Fatalf("%+v\ntier %d: %s, the model says %s", p, i, p.tiers[i], time.Duration(want))
				}
			}
			if p.tiers[i] < floor || p.tiers[i] > max(p.interval, min(2*p.interval, ceiling)) {
				t.Fatalf("%+v\ntier %d is out of its limits", p, i)
			}
		}
		if !p.tiered() && [tierCount]time.Duration(p.tiers[:tierCount]) != [tierCount]time.Duration{p.interval, p.interval, p.interval} {
			t.Fatalf("%+v\nwithout tiers everybody is read once per sweep", p)
		}
		if p.tiers[tierHot] > p.interval {
			t.Fatalf("%+v\nhot people are worse off than without tiers", p)
		}
		if needed := p.demand() * float64(time.Second); needed > rate*maxBatch*(1+1e-9) {
			t.Fatalf("%+v\nneeds %f readings a second at %f requests", p, needed, rate)
		}
		if p.interval == floor && p.tiered() {
			t.Fatalf("%+v\ntiers although the budget suffices", p)
		}
	})
}

func TestAnAgeLiesInItsBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		age := time.Duration(rapid.OneOf(rapid.Int64Range(0, int64(time.Minute)), rapid.Int64Range(0, int64(400*24*time.Hour))).Draw(t, "age"))
		n := ageBucket(age)
		limit := ageLimit(n)
		if limit <= age || n > 0 && ageLimit(n-1) > age {
			t.Fatalf("%s is in bucket %d, which ends at %s", age, n, limit)
		}
		if limit-age > max(age/8, 1<<ageUnit) {
			t.Fatalf("%s counts as %s", age, limit)
		}
	})
	require.Equal(t, ageBuckets-1, ageBucket(math.MaxInt64))
	require.Zero(t, ageBucket(-time.Second))
}

func TestQuantilesAreThoseOfTheSortedAges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Ages
		var c ageCounter
		list := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 50).Draw(t, "ages")
		before := c.load()
		for _, age := range list {
			a.add(time.Duration(age))
			c.add(time.Duration(age))
		}
		slices.Sort(list)
		if got := c.load(); got != a {
			t.Fatal("counted concurrently it is another")
		}
		if since := a.Since(&before); since.Count() != a.Count() {
			t.Fatal("since nothing is not all")
		}
		for _, q := range []float64{0, 0.25, 0.5, 0.99, 1} {
			want := time.Duration(list[max(int(math.Ceil(q*float64(len(list))))-1, 0)])
			got := a.Quantile(q)
			if got < want || got > want+max(want/8, 1<<ageUnit) {
				t.Fatalf("quantile %v is %s, want %s", q, got, want)
			}
		}
		if a.Max() != time.Duration(list[len(list)-1]) || a.Count() != uint64(len(list)) {
			t.Fatal("wrong maximum or count")
		}
	})
	var none Ages
	require.Zero(t, none.Quantile(0.5))
	require.Zero(t, none.Max())
	require.Zero(t, none.Count())
}
