package graphsrc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/mapping"
)

// town is a Graph of people of whom some are there and the others Offline. It
// notes when it was asked.
type town struct {
	fakeGraph
	present int // people with a lower number are there
	number  map[string]int

	mu     sync.Mutex
	broken string // an answer with this person fails
	times  []time.Time
	sizes  []int
}

func newTown(size, present int) *town {
	g := &town{present: present, number: make(map[string]int, size)}
	for n := range size {
		g.number[id(n)] = n
	}
	return g
}

func (g *town) Presences(_ context.Context, ids []string) ([]Presence, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.times, g.sizes = append(g.times, time.Now()), append(g.sizes, len(ids))
	out := make([]Presence, len(ids))
	for i, one := range ids {
		if one == g.broken {
			return nil, &Error{Op: "get presences", Kind: KindMalformed, Status: 200}
		}
		word := "Offline"
		if g.number[one] < g.present {
			word = "Available"
		}
		out[i] = Presence{ID: one, Words: mapping.Presence{Availability: word, Activity: word}}
	}
	return out, nil
}

func (g *town) Presence(ctx context.Context, one string) (Presence, error) {
	list, err := g.Presences(ctx, []string{one})
	if err != nil {
		return Presence{}, err
	}
	return list[0], nil
}

func (g *town) setBroken(one string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = one
}

// sent returns when requests were made and for how many, and forgets it.
func (g *town) sent() ([]time.Time, []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	times, sizes := g.times, g.sizes
	g.times, g.sizes = nil, nil
	return times, sizes
}

// inTown watches everybody, of whom the first hot are asked for by clients.
func inTown(t *testing.T, g *town, rate float64, change func(*Options)) *Source {
	o := Options{Graph: g, Budget: &fakeBudget{}, RefreshRate: rate, WatchCeiling: time.Hour, Stale: time.Hour}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.cache.temper = temper{hot: 90 * time.Second, quiet: time.Hour, gone: 2 * time.Minute}
	s.Start(t.Context())
	return s
}

// agesOf are the ages of people by number.
func agesOf(t *testing.T, s *Source, from, to int) (ages Ages) {
	now := time.Now()
	for n := from; n < to; n++ {
		rec, known := s.cache.get(mustKey(t, id(n)))
		require.True(t, known)
		ages.add(s.cache.age(&rec, now))
	}
	return ages
}

func TestAgesObeyTheBoundHoweverManyAreWatched(t *testing.T) {
	for _, c := range []struct {
		people int
		rate   float64
		tiered bool
	}{{1000, 1, false}, {1000, 0.02, true}, {50_000, 22.5, false}, {50_000, 1.25, true}, {200_000, 5, true}} {
		t.Run(fmt.Sprintf("%d people at %v requests a second", c.people, c.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newTown(c.people+c.people/10, c.people/5)
				s := inTown(t, g, c.rate, nil)
				hot := c.people / 50
				ask := func() {
					for n := range hot {
						_, err := s.Presence(t.Context(), id(n))
						require.NoError(t, err)
					}
				}
				s.Watch(people(0, c.people)...)
				sweep := s.Stats().Interval
				for range 8 {
					wait(max(sweep, 30*time.Second) / 2)
					ask()
				}
				p := s.refresher.plan()
				require.Equal(t, c.tiered, p.tiered())
				g.sent()

				// Quietly, nobody exceeds the interval of the own tier.
				settled := p.step() * 2
				requests, began := s.Stats().SweepRequests, time.Now()
				for range 6 {
					wait(sweep / 4)
					ask()
					stats := s.Stats()
					require.LessOrEqual(t, stats.OldestAge, p.tiers[tierQuiet]+settled)
					hottest := agesOf(t, s, 0, hot)
					require.LessOrEqual(t, hottest.Max(), p.tiers[tierHot]+settled)
					require.InDelta(t, hot, stats.Hot.People, 0.01*float64(c.people))
				}
				sent := float64(s.Stats().SweepRequests - requests)
				require.LessOrEqual(t, sent, c.rate*time.Since(began).Seconds()+1)
				require.InDelta(t, sweep, s.Stats().SweepTime, float64(sweep)/4)
				times, sizes := g.sent()
				if c.tiered {
					require.GreaterOrEqual(t, sent, c.rate*time.Since(began).Seconds()-2)
					require.LessOrEqual(t, 2*p.tiers[tierHot], sweep, "twice as often as without tiers")
				}
				for i, n := range sizes {
					if n > 1 && c.tiered && c.people > 10*maxBatch {
						require.Equal(t, maxBatch, n, "batches are full")
					}
					if i > 0 && n > 1 && sizes[i-1] > 1 {
						require.GreaterOrEqual(t, times[i].Sub(times[i-1]), p.step()-time.Millisecond, "the pace is even")
					}
				}

				// And whoever joins, leaves or is asked for, nobody exceeds the bound.
				var bound time.Duration
				longest := sweep
				for range 6 {
					from := rand.N(c.people)
					some := people(from, from+c.people/10)
					if rand.N(2) == 0 {
						s.Watch(some...)
						wait(sweep / 20)
					} else {
						s.Unwatch(some...)
						s.Watch(some...)
					}
					for n := range c.people / 20 {
						_, err := s.Presence(t.Context(), id((from+2*n)%c.people))
						require.NoError(t, err)
					}
					wait(sweep / 7)
					p := s.refresher.plan()
					stats := s.Stats()
					require.Equal(t, p.bound(), stats.AgeBound)
					bound = max(bound, stats.AgeBound+2*p.step())
					longest = max(longest, stats.Interval)
					require.LessOrEqual(t, stats.OldestAge, bound)
					require.Equal(t, stats.OldestAge, stats.Ages.Max())
					require.LessOrEqual(t, stats.Served.Max(), max(slack(longest)+settled, 21*time.Second), "tiers make no answer older")
				}
			})
		})
	}
}

func TestSomebodyAskedForIsHotAtOnceAndQuietInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 13_000 // 20 requests, a sweep of 100 s
		g := newTown(crowd, 100)
		s := inTown(t, g, 0.2, nil)
		s.Watch(people(0, crowd)...)
		wait(time.Second)
		stats := s.Stats()
		require.Equal(t, [3]int{0, crowd, 0}, [3]int{stats.Hot.People, stats.Normal.People, stats.Quiet.People})
		require.Equal(t, 100*time.Second, stats.Interval)
		require.InDelta(t, 50*time.Second, stats.Hot.Interval, float64(time.Second))
		require.InDelta(t, 100*time.Second, stats.Normal.Interval, float64(time.Second))
		wait(10 * time.Minute)
		stats = s.Stats()
		require.Equal(t, [3]int{0, 100, crowd - 100}, [3]int{stats.Hot.People, stats.Normal.People, stats.Quiet.People})
		require.InDelta(t, 25*time.Second, stats.Hot.Interval, float64(time.Second))
		require.InDelta(t, 100*time.Second, stats.Quiet.Interval, float64(time.Second))

		// Whoever has not been read for long is next, the others one short turn away.
		for _, one := range people(500, 520) {
			_, err := s.Presence(t.Context(), one)
			require.NoError(t, err)
		}
		require.Equal(t, 20, s.Stats().Hot.People)
		wait(45 * time.Second)
		require.LessOrEqual(t, agesOf(t, s, 500, 520).max, 45*time.Second)
		for range 8 {
			wait(5 * time.Second)
			require.LessOrEqual(t, agesOf(t, s, 500, 520).max, 36*time.Second)
		}
		wait(10 * time.Minute)
		require.Zero(t, s.Stats().Hot.People)

		// So is who changes.
		g.mu.Lock()
		g.present = 120
		g.mu.Unlock()
		wait(101 * time.Second)
		require.Equal(t, 20, s.Stats().Hot.People)
		wait(3 * time.Minute)
		require.Equal(t, 120, s.Stats().Normal.People)
		s.Unwatch(people(0, crowd)...)
		stats = s.Stats()
		require.Zero(t, stats.Hot.People+stats.Normal.People+stats.Quiet.People)
	})
}

func TestWithoutScarcityThereAreNoTiersAndNobodyIsReadTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTown(1950, 100)
		s := inTown(t, g, 1, nil)
		s.Watch(people(0, 1950)...)
		wait(10 * time.Minute)
		g.sent()
		for n := range 60 {
			wait(10 * time.Second)
			for i := range 100 {
				_, err := s.Presence(t.Context(), id((n+i*7)%1950))
				require.NoError(t, err)
			}
			stats := s.Stats()
			require.LessOrEqual(t, stats.OldestAge, 20*time.Second)
			require.Equal(t, 20*time.Second, stats.Hot.Interval)
			require.Equal(t, 20*time.Second, stats.Quiet.Interval)
			require.Positive(t, stats.Hot.People)
		}
		_, sizes := g.sent()
		require.InDelta(t, 90, len(sizes), 1)
		for _, n := range sizes {
			require.Equal(t, 650, n)
		}
	})
}

func TestWhoMakesBatchesFailStarvesNobodyInAnyTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 13_000
		g := newTown(crowd, 2000)
		s := inTown(t, g, 0.5, nil) // a sweep of 40 s
		s.Watch(people(0, crowd)...)
		wait(10 * time.Minute)
		g.setBroken(id(123))
		ask := func() {
			for n := range 250 {
				_, _ = s.Presence(t.Context(), id(n))
			}
		}
		var worst [tierCount]time.Duration
		for n := range 60 {
			ask()
			wait(20 * time.Second)
			if n < 10 {
				continue
			}
			for i, part := range [tierCount][2]int{{0, 123}, {250, 2000}, {2000, crowd}} {
				worst[i] = max(worst[i], agesOf(t, s, part[0], part[1]).max)
			}
		}
		for i, age := range worst {
			// To find the one out, a batch is halved ten times at least; each time
			// costs a repetition too, 2 s a send.
			require.LessOrEqual(t, age, s.Stats().AgeBound+5*time.Minute, "tier %d", i)
		}
		g.setBroken("")
		wait(3 * time.Minute)
		require.LessOrEqual(t, s.Stats().OldestAge, s.Stats().Quiet.Interval+10*time.Second)
	})
}

func TestTheLogTellsTheIntervalsOfTheTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := inTown(t, newTown(13_000, 100), 0.2, func(o *Options) {
			o.Logger, o.WatchCeiling = slog.New(slog.NewTextHandler(&log, nil)), 90*time.Second
		})
		s.Watch(people(0, 13_000)...)
		wait(10 * time.Minute)
		require.Equal(t, 1, strings.Count(log.String(), "more people are watched than the budget can refresh in time"))
		require.Regexp(t, `interval=1m\d\S+ hot=\S+ quiet=1m\d\S+ watched=\d+`, log.String())
		stats := s.Stats()
		require.True(t, stats.BehindCeiling)
		require.Equal(t, stats.Hot.Interval, stats.Quiet.Interval, "nobody is favoured while others wait beyond the ceiling")
	})
}

func TestPresenceUnknownIsHeldBackOnceInEveryTier(t *testing.T) {
	for _, at := range []tier{tierHot, tierNormal, tierQuiet} {
		t.Run(fmt.Sprintf("tier %d", at), func(t *testing.T) {
			c := newCache(10, 20*time.Second, time.Unix(0, 0), &counters{})
			p := plan{floor: 20 * time.Second, interval: 100 * time.Second}
			p.divide(50*time.Second, 200*time.Second)
			c.paced(&p)
			c.temper = temper{hot: 0, quiet: time.Hour, gone: time.Hour}
			switch at {
			case tierHot:
				c.temper.hot = time.Hour
			case tierQuiet:
				c.temper.quiet = 0
			}
			k := userKey{1}
			now := c.epoch
			c.pin(k, 0, now)
			words := func(w string) bool {
				_, _, changed := c.apply(k, &Presence{Words: mapping.Presence{Availability: w}}, now, false)
				now = now.Add(p.tiers[at])
				return changed
			}
			words("Busy")
			if at == tierHot {
				c.ask(k, now)
			}
			require.False(t, words("Busy"))
			rec, _ := c.get(k)
			require.Equal(t, at, rec.tier)
			require.False(t, words("PresenceUnknown"), "one unknown answer")
			require.True(t, words("PresenceUnknown"), "two of them")
		})
	}
}

func TestOnlyQuestionsOfClientsMakeSomebodyHot(t *testing.T) {
	c := newCache(10, 20*time.Second, time.Unix(0, 0), &counters{})
	k := userKey{1}
	_, known, stir := c.ask(k, c.epoch)
	require.False(t, known || stir, "nobody knows the person")
	c.pin(k, 0, c.epoch)
	var stirred []int
	for n := range 200 {
		if _, _, stir := c.ask(k, c.epoch.Add(time.Duration(n)*time.Second)); stir {
			stirred = append(stirred, n)
		}
		c.get(k)
	}
	require.True(t, slices.Equal([]int{0, 60, 120, 180}, stirred), stirred)
}
