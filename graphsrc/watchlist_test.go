package graphsrc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/mapping"
)

// check says what is wrong with a watchlist for which there are the given
// numbers of watchers, or nothing.
func (w *watchlist) check(watchers map[userKey]int) string {
	if len(w.index) != len(watchers) {
		return fmt.Sprintf("%d people, want %d", len(w.index), len(watchers))
	}
	places := make(map[userKey]place)
	tiers := [allTiers]int{}
	for at := placeHot; at < placeCount; at++ {
		n, before, q := 0, uint32(0), &w.queues[at]
		for i := q.head; i != 0; i = w.people[i].next {
			p := &w.people[i]
			if _, twice := places[p.key]; twice || p.place != at || p.prev != before || w.index[p.key] != i {
				return fmt.Sprintf("entry %d is not where it should be: %+v", i, *p)
			}
			places[p.key], before = at, i
			n++
		}
		if n != q.n || q.tail != before {
			return fmt.Sprintf("a queue of %d counts %d", n, q.n)
		}
	}
	for k, want := range watchers {
		p := &w.people[w.index[k]]
		_, queued := places[k]
		tiers[p.tier]++
		if p.key != k || int(p.watchers) != want || queued == (p.place == placeAway) {
			return fmt.Sprintf("%+v, want %d watchers", *p, want)
		}
	}
	if tiers != w.tiers {
		return fmt.Sprintf("tiers of %v count %v", tiers, w.tiers)
	}
	pinned, unread := 0, 0
	var suspects int64
	for i := range w.cache.shards {
		s := &w.cache.shards[i]
		pinned += s.pinned
		unread += s.unread
		if ordinary := len(s.slots) - s.pinned; ordinary > s.limit || len(s.index) != len(s.slots) {
			return fmt.Sprintf("a shard for %d holds %d ordinary people, %d in its index", s.limit, ordinary, len(s.index))
		}
		for n := range s.slots {
			sl := &s.slots[n]
			suspects += suspect(&sl.rec)
			if !sl.rec.known {
				unread--
			}
			if int(s.index[sl.key]) != n || sl.rec.watched != (n < s.pinned) || sl.rec.watched != (watchers[sl.key] > 0) {
				return fmt.Sprintf("slot %d of %d pinned: %+v", n, s.pinned, sl.key)
			}
		}
	}
	if pinned != len(watchers) || unread != 0 || suspects != w.cache.suspects.Load() {
		return fmt.Sprintf("%d pinned of %d, %d unread too many, %d suspects counted as %d", pinned, len(watchers), unread, suspects, w.cache.suspects.Load())
	}
	return ""
}

func TestTheWatchlistHoldsWhateverIsDoneToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := time.Unix(0, 0)
		c := newCache(rapid.IntRange(1, 8).Draw(t, "cache size"), 20*time.Second, epoch, &counters{})
		plan := &plan{floor: 20 * time.Second, interval: 20 * time.Second}
		if rapid.Bool().Draw(t, "scarce") {
			plan.interval = time.Minute
		}
		plan.divide(plan.interval/2, 2*plan.interval)
		if rapid.Bool().Draw(t, "refreshed") {
			c.paced(plan)
		}
		w := newWatchlist(c)
		watchers := make(map[userKey]int)
		now := epoch
		var away [][]userKey
		some := func() []userKey {
			var keys []userKey
			for range rapid.IntRange(1, 5).Draw(t, "keys") {
				keys = append(keys, userKey{byte(rapid.IntRange(0, 15).Draw(t, "key"))})
			}
			return keys
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 15).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0:
				keys := some()
				for _, k := range keys {
					watchers[k]++
				}
				w.add(keys, now)
			case 1:
				keys := some()
				for _, k := range keys {
					if watchers[k]--; watchers[k] <= 0 {
						delete(watchers, k)
					}
				}
				w.remove(keys)
			case 2, 3:
				keys := some()
				p := available("")
				var read []heard
				for _, k := range keys {
					_, rec, _ := c.apply(k, &p, now, rapid.IntRange(0, 3).Draw(t, "refused") == 0)
					read = append(read, heard{key: k, tier: rec.tier})
				}
				w.read(read, now)
			case 4:
				keys, _ := w.take(rapid.IntRange(0, 5).Draw(t, "n"), plan, now)
				away = append(away, keys)
			case 7:
				w.stir(some()[0], now)
			case 5:
				away = append(away, w.takeUrgent(rapid.IntRange(1, 5).Draw(t, "n")))
			case 6:
				if len(away) > 0 {
					w.giveBack(w.away(away[0]))
					away = away[1:]
				}
			}
			if wrong := w.check(watchers); wrong != "" {
				t.Fatal(wrong)
			}
		}
	})
}

func TestMemoryIsGivenBackWhenACrowdHasLeft(t *testing.T) {
	epoch := time.Unix(0, 0)
	c := newCache(1000, time.Second, epoch, &counters{})
	w := newWatchlist(c)
	const n = 20_000
	keys := make([]userKey, n)
	watchers := make(map[userKey]int)
	p := available("")
	for i := range keys {
		keys[i] = uuid.New()
		watchers[keys[i]] = 1
		if i%2 == 0 {
			c.apply(keys[i], &p, epoch, false)
		}
	}
	w.add(keys, epoch)
	require.Empty(t, w.check(watchers))
	w.take(100, &plan{}, epoch)
	w.remove(keys[10:])
	for _, k := range keys[10:] {
		delete(watchers, k)
	}
	require.Empty(t, w.check(watchers))
	require.LessOrEqual(t, len(w.people), 1024)
	slots := 0
	for i := range c.shards {
		slots += cap(c.shards[i].slots)
	}
	require.LessOrEqual(t, slots, 8*1024)
	require.LessOrEqual(t, c.size(), 1010)
}

func TestTheOldestAreNextAndFailuresStayInFront(t *testing.T) {
	epoch := time.Unix(0, 0)
	c := newCache(100, time.Hour, epoch, &counters{})
	w := newWatchlist(c)
	var keys []userKey
	p := available("")
	for i := range 10 {
		keys = append(keys, userKey{byte(i)})
		c.apply(keys[i], &p, epoch, false)
		w.add(keys[i:], epoch)
	}
	now := epoch
	take := func(n int) []userKey {
		now = now.Add(time.Second)
		taken, _ := w.take(n, &plan{}, now)
		return taken
	}
	read := func(keys []userKey) {
		now = now.Add(time.Second)
		for _, k := range keys {
			w.read([]heard{{key: k, tier: tierNormal}}, now)
		}
	}
	read(keys)
	first := take(3)
	require.Equal(t, keys[:3], first)
	second := take(3)
	require.Equal(t, keys[3:6], second)
	w.giveBack(second)
	read(first)
	third := take(4)
	require.Equal(t, keys[3:7], third)
	w.pass(third[0], now)
	w.giveBack(third)
	require.Equal(t, slices.Concat(keys[4:], first, keys[3:4]), take(20))
}

func TestSomebodyNewJoinsTheOrderByTheAgeOfTheirReading(t *testing.T) {
	epoch := time.Unix(0, 0)
	c := newCache(100, 20*time.Second, epoch, &counters{})
	plan := &plan{floor: 20 * time.Second, interval: 20 * time.Second}
	plan.divide(plan.floor, plan.floor)
	c.paced(plan)
	w := newWatchlist(c)
	p := available("")
	var keys []userKey
	for i, second := range []int{15, 14, 8, 2} {
		keys = append(keys, userKey{byte(i)})
		c.apply(keys[i], &p, epoch.Add(time.Duration(second)*time.Second), false)
	}
	now := epoch.Add(20 * time.Second)
	require.False(t, w.add(keys[:3], now), "all are fresh")
	require.True(t, w.add([]userKey{{99}}, now), "somebody unknown")
	w.add(keys[3:], now)
	taken, _ := w.take(10, plan, now)
	require.Equal(t, []userKey{keys[2], keys[3], keys[0], keys[1]}, taken)
	require.Equal(t, []userKey{{99}}, w.takeUrgent(10))
	require.Empty(t, w.takeUrgent(10))

	// One more watcher of somebody whose reading is overdue.
	w.giveBack(keys)
	later := now.Add(time.Minute)
	require.True(t, w.add(keys[:1], later))
	require.Equal(t, keys[:1], w.takeUrgent(10))
}

func TestWatchedPeopleOutliveAnyPressureAndThenAreOrdinary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d := watching(t, n, &fakeBudget{}, func(o *Options) { o.CacheSize = 100 })
		s.Watch(people(0, 500)...)
		wait(time.Second)
		for from := 1000; from < 9000; from += 500 {
			s.Presences(t.Context(), people(from, from+500))
		}
		require.Equal(t, 600, s.Stats().Known)
		n.forget()
		for _, r := range s.Presences(t.Context(), people(0, 500)) {
			require.NoError(t, r.Err)
		}
		require.Empty(t, n.questions())
		require.Len(t, d.tear(), 500)
		s.Unwatch(people(0, 500)...)
		require.Equal(t, 100, s.Stats().Known)
		s.Presences(t.Context(), people(1000, 3000))
		require.Equal(t, 100, s.Stats().Known)
		for _, one := range people(0, 500) {
			_, known := s.cache.get(mustKey(t, one))
			require.False(t, known)
		}
	})
}

func TestWatchOptionsThatMakeNoSenseAreAllNamed(t *testing.T) {
	_, err := New(Options{Graph: &fakeGraph{}, Budget: &fakeBudget{}, WatchFloor: time.Hour, WatchCeiling: time.Minute, RefreshRate: -1})
	require.ErrorContains(t, err, "WatchCeiling")
	require.ErrorContains(t, err, "RefreshRate")
}

// crowd gives n people random ids and presences like those of a tenant.
func crowd(n int) ([]string, []Presence) {
	words := []string{"Available", "Busy", "Away", "Offline", "DoNotDisturb"}
	ids, truth := make([]string, n), make([]Presence, n)
	for i := range n {
		ids[i] = uuid.NewString()
		w := words[rand.N(len(words))]
		truth[i] = Presence{
			ID: ids[i], Sequence: fmt.Sprintf("A%010d", i),
			Words: mapping.Presence{Availability: w, Activity: w, WorkLocation: "office"},
		}
		if i%10 == 0 {
			truth[i].Words.StatusMessage = fmt.Sprintf("back at half past %d, please leave a message", i)
		}
	}
	return ids, truth
}

// heap is how many bytes are in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// settleCrowd enters people into a cache and a watchlist, with their readings.
func settleCrowd(tb testing.TB, ids []string, truth []Presence) *watchlist {
	c := newCache(1000, time.Second, time.Unix(0, 0), &counters{})
	w := newWatchlist(c)
	for i := range ids {
		k := mustKey(tb, ids[i])
		w.add([]userKey{k}, c.epoch)
		p := truth[i]
		p.Sequence = strings.Clone(p.Sequence) // the cache's own
		_, rec, _ := c.apply(k, &p, c.epoch, false)
		w.read([]heard{{key: k, tier: rec.tier}}, c.epoch)
	}
	return w
}

func TestAWatchedPersonIsSmall(t *testing.T) {
	const n = 100_000
	ids, truth := crowd(n)
	before := heap()
	w := settleCrowd(t, ids, truth)
	perPerson := float64(heap()-before) / n
	t.Logf("%.0f bytes per watched person", perPerson)
	require.Less(t, perPerson, 400.0)
	runtime.KeepAlive(w)
	runtime.KeepAlive(truth)
}

// BenchmarkWatchedMemory reports the bytes of a watched person in the cache, the
// watchlist and their indexes, at 100,000 people, and fails above 400.
func BenchmarkWatchedMemory(b *testing.B) {
	const n = 100_000
	ids, truth := crowd(n)
	var perPerson float64
	for b.Loop() {
		before := heap()
		w := settleCrowd(b, ids, truth)
		perPerson = float64(heap()-before) / n
		runtime.KeepAlive(w)
	}
	runtime.KeepAlive(truth)
	b.ReportMetric(perPerson, "B/person")
	require.Less(b, perPerson, 400.0)
}

// crowdGraph answers for a crowd without allocating more than the answer.
type crowdGraph struct {
	fakeGraph
	truth map[string]Presence
}

func (g *crowdGraph) Presences(_ context.Context, ids []string) ([]Presence, error) {
	out := make([]Presence, len(ids))
	for i, one := range ids {
		out[i] = g.truth[one]
	}
	return out, nil
}

// BenchmarkSweep reads 20,000 watched people who have not changed: what the
// package itself costs, beside the request and the decoding of its answer.
func BenchmarkSweep(b *testing.B) {
	const n = 20_000
	ids, truth := crowd(n)
	g := &crowdGraph{truth: make(map[string]Presence, n)}
	for i := range ids {
		g.truth[ids[i]] = truth[i]
	}
	s := start(b, g, &fakeBudget{}, nil)
	s.Watch(ids...)
	require.Eventually(b, func() bool { return s.Stats().Known == n && len(s.looker.slots) == 0 }, time.Minute, time.Millisecond)
	ctx := b.Context()
	p := s.refresher.plan()
	sweep := func() {
		for range p.batches {
			s.refresher.slots <- struct{}{}
			s.refresher.step(ctx, &p)
		}
		for range maxInFlight {
			s.refresher.slots <- struct{}{}
		}
		for range maxInFlight {
			<-s.refresher.slots
		}
	}
	sweep()
	requests := s.Stats().SweepRequests
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		sweep()
	}
	runtime.ReadMemStats(&after)
	people := float64(b.N) * n
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/people, "ns/person")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/people, "allocs/person")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/people, "B/person")
	b.ReportMetric(float64(s.Stats().SweepRequests-requests)/float64(b.N), "requests/sweep")
}

// BenchmarkWatch enters and removes one of a million people.
func BenchmarkWatch(b *testing.B) {
	c := newCache(1000, time.Hour, time.Unix(0, 0), &counters{})
	w := newWatchlist(c)
	keys := make([]userKey, 1_000_000)
	p := available("")
	for i := range keys {
		keys[i] = uuid.New()
		w.add(keys[i:i+1], c.epoch)
		c.apply(keys[i], &p, c.epoch, false)
	}
	b.ResetTimer()
	for i := range b.N {
		k := keys[i%len(keys) : i%len(keys)+1]
		w.remove(k)
		w.add(k, c.epoch)
	}
	b.StopTimer()
	began := time.Now()
	c.ages(began)
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/Stats")
	require.Equal(b, len(keys), w.size())
}

// BenchmarkPlanner compares the tiers with a uniform sweep over the same 65,000
// people at one request a second: one in fifty is asked for all the time, one in
// five is there, the others are Offline. The ages are those of the people asked
// for, the time is that of choosing and entering.
func BenchmarkPlanner(b *testing.B) {
	const crowd, hot, there = 65_000, 1300, 13_000
	measure := func(flat bool) (age Ages, perPerson float64) {
		d := newDrill(crowd, 20*time.Second, time.Hour, 1)
		d.flat = flat
		d.c.temper = temper{hot: 5 * time.Minute, quiet: 24 * time.Hour, gone: 5 * time.Minute}
		d.words = func(k userKey) string {
			if int(k[0])<<16|int(k[1])<<8|int(k[2]) < there {
				return "Available"
			}
			return "Offline"
		}
		for n := range crowd {
			d.w.add([]userKey{number(n)}, d.now)
		}
		d.look()
		minutes := func(n int) (readings int) {
			for range n {
				for h := range hot {
					d.ask(number(h))
				}
				for range 60 {
					readings += d.step()
				}
				for h := range hot {
					rec, _ := d.c.get(number(h))
					age.add(d.c.age(&rec, d.now))
				}
			}
			return readings
		}
		minutes(15)
		age = Ages{}
		began := time.Now()
		readings := minutes(20)
		return age, float64(time.Since(began).Nanoseconds()) / float64(readings)
	}
	var tiers, flat Ages
	var cost, flatCost float64
	for b.Loop() {
		tiers, cost = measure(false)
		flat, flatCost = measure(true)
	}
	b.ReportMetric(float64(flat.Quantile(0.5))/float64(tiers.Quantile(0.5)), "uniform/tiers-p50-age")
	b.ReportMetric(float64(flat.Max())/float64(tiers.Max()), "uniform/tiers-max-age")
	b.ReportMetric(cost, "ns/reading")
	b.ReportMetric(cost/flatCost, "tiers/uniform-cost")
	require.Greater(b, flat.Quantile(0.5), 2*tiers.Quantile(0.5))
}

// BenchmarkPlan computes the intervals of the tiers under scarcity.
func BenchmarkPlan(b *testing.B) {
	p := plan{people: 200_000, readings: 200_000, interval: time.Minute, floor: 20 * time.Second, counts: [allTiers]int{4000, 36_000, 160_000}}
	for b.Loop() {
		p.share(time.Hour)
	}
}
