package scale_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/limit"
	"ucwagate/graphsrc/scale"
)

// story is a stretch of a gateway's life.
type story struct {
	rule     limit.Rule
	latency  scale.Latency
	people   int
	reads    int // per second
	floor    time.Duration
	length   time.Duration
	restarts []time.Duration // since the begin
	faults   scale.Mix       // in the middle third
	jumps    []jump
	seed     uint64
}

// jump sets the process's clock.
type jump struct{ at, by time.Duration }

func drawStory(t *rapid.T) story {
	upTo := func(label string, most time.Duration) time.Duration {
		return time.Duration(rapid.IntRange(0, int(most/time.Millisecond)).Draw(t, label)) * time.Millisecond
	}
	s := story{
		rule:    rapid.SampledFrom(scale.Rules()).Draw(t, "rule"),
		latency: scale.Latency{Least: upTo("latency", 300*time.Millisecond), Spread: upTo("spread", budget.LatencyMargin), Skew: rapid.SampledFrom([]float64{1, 4, 16}).Draw(t, "skew")},
		people:  rapid.SampledFrom([]int{1, 100, 651, 2000}).Draw(t, "people"),
		reads:   rapid.SampledFrom([]int{100, 30, 0}).Draw(t, "reads"),
		floor:   rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second}).Draw(t, "floor"),
		length:  rapid.SampledFrom([]time.Duration{36 * time.Second, 60 * time.Second}).Draw(t, "length"),
		seed:    rapid.Uint64().Draw(t, "seed"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "restarts") {
		s.restarts = append(s.restarts, upTo("restart", s.length))
	}
	slices.Sort(s.restarts)
	if rapid.Bool().Draw(t, "faulty") {
		s.faults = scale.Mix{}
		for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(scale.Faults()), 1, 5, rapid.ID).Draw(t, "faults") {
			s.faults[f] = 0.19
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "jumps") {
		by := upTo("by", time.Hour) - 59*time.Minute // mostly back
		s.jumps = append(s.jumps, jump{upTo("jump", s.length), by})
	}
	slices.SortFunc(s.jumps, func(a, b jump) int { return int(a.at - b.at) })
	return s
}

// forward counts the jumps ahead. Each may fill the bucket once more: a clock
// that lies about the past cannot be told from time that has passed. The
// system's clock does not, being monotonic; only an injected one can.
func (s *story) forward() (n int) {
	for _, j := range s.jumps {
		if j.by > 0 {
			n++
		}
	}
	return n
}

// jumpy is the bubble's clock with an offset.
type jumpy struct {
	clock.Clock
	offset atomic.Int64
}

func (c *jumpy) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.offset.Load())) }

// live plays the story in the bubble of the caller.
func (s *story) live(t *testing.T) scale.Counts {
	tenant := scale.NewTenant(s.people, s.seed)
	service := scale.NewService(tenant, s.latency, []limit.Rule{s.rule}, s.seed)
	clk := &jumpy{Clock: clock.System()}
	start := func() *scale.Process {
		p, err := scale.StartProcess(t.Context(), service, graphsrc.Options{Clock: clk, WatchFloor: s.floor, RefreshRate: 45})
		require.NoError(t, err)
		p.Source.Watch(tenant.IDs()...)
		return p
	}
	var mu sync.Mutex // guards current
	current := start()
	source := func() *graphsrc.Source { mu.Lock(); defer mu.Unlock(); return current.Source }

	ctx, cancel := context.WithTimeout(t.Context(), s.length)
	defer cancel()
	at := func(d time.Duration, what func()) { time.AfterFunc(d, what) }
	for _, j := range s.jumps {
		at(j.at, func() { clk.offset.Add(int64(j.by)) })
	}
	at(s.length/3, func() { service.Break(s.faults) })
	at(2*s.length/3, func() { service.Break(nil) })
	var all sync.WaitGroup
	all.Go(func() {
		begin := time.Now()
		for _, d := range s.restarts {
			pass(time.Until(begin.Add(d)))
			mu.Lock()
			old := current
			mu.Unlock()
			old.Close()
			fresh := start()
			mu.Lock()
			current = fresh
			mu.Unlock()
		}
	})
	if s.reads > 0 {
		rnd := rand.New(rand.NewPCG(s.seed, 9))
		all.Go(func() {
			for ctx.Err() == nil {
				pass(time.Duration(rnd.ExpFloat64() / float64(s.reads) * float64(time.Second)))
				id := scale.ID(s.people + rnd.IntN(1_000_000))
				all.Go(func() { _, _ = source().Presence(ctx, id) })
			}
		})
	}
	<-ctx.Done()
	all.Wait()
	current.Close()
	service.Drain()
	return service.Counts()
}

func TestNoWindowHoldsMoreThanGraphAdmits(t *testing.T) {
	outer := t
	plan := budget.DefaultPlan()
	bound := float64(plan.Capacity) + plan.Rate*plan.Window.Seconds()
	sends, fullest, faults := 0, 0.0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawStory(t)
		var c scale.Counts
		synctest.Test(outer, func(bubble *testing.T) { c = s.live(bubble) })
		extra := float64(s.forward() * plan.Capacity)
		if most := bound + extra; float64(c.WorstSends) > most {
			t.Fatalf("%d sends in a window, at most %.0f", c.WorstSends, most)
		}
		if most := bound + extra + plan.Rate*s.latency.Spread.Seconds(); float64(c.WorstArrivals) > most {
			t.Fatalf("%d arrivals in a window, at most %.0f", c.WorstArrivals, most)
		}
		if s.forward() == 0 && (c.Throttled > 0 || c.WorstArrivals > scale.DocumentedRequests) {
			t.Fatalf("%d arrivals in a window, %d requests beyond the limit", c.WorstArrivals, c.Throttled)
		}
		if c.Early > 0 && len(s.jumps) == 0 {
			t.Fatalf("%d requests in a pause", c.Early)
		}
		sends += c.Sends
		fullest = max(fullest, float64(c.WorstSends)/bound)
		for _, n := range c.Faults {
			faults += n
		}
	})
	// A property about sends and faults that sees none would prove nothing.
	t.Logf("%d sends, %d faults, fullest window at %.1f %% of its bound", sends, faults, 100*fullest)
	require.Greater(t, fullest, 0.8)
	require.Positive(t, faults)
}
