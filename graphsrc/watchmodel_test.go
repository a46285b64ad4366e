package graphsrc

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/mapping"
)

// slowList is a watchlist that looks at everybody for each turn.
type slowList struct {
	people map[userKey]*slowPerson
	known  map[userKey]*slowPerson // whoever was ever read or is watched
	turn   int
	plan   *plan
	temper temper
	now    time.Time
}

type slowPerson struct {
	key                           userKey
	watchers                      int
	tier                          tier
	place                         place
	turn                          int // order in the queue
	since, read, changed, touched time.Time
	words                         string
}

func (l *slowList) tierOf(p *slowPerson) tier {
	if p.read.IsZero() {
		return tierNormal
	}
	last := p.changed
	if p.touched.After(last) {
		last = p.touched
	}
	idle := l.now.Sub(last)
	if idle < l.temper.hot {
		return tierHot
	}
	if idle >= l.temper.quiet || p.words == "Offline" && idle >= l.temper.gone {
		return tierQuiet
	}
	return tierNormal
}

func (l *slowList) push(p *slowPerson, at place) {
	l.turn++
	p.place, p.turn, p.since = at, l.turn, l.now
}

func (l *slowList) add(k userKey) {
	p := l.people[k]
	if p != nil {
		p.watchers++
		if p.place.swept() && l.now.Sub(p.read) >= slack(l.plan.interval) {
			l.push(p, placeUrgent)
		}
		return
	}
	if p = l.known[k]; p == nil {
		p = &slowPerson{key: k}
		l.known[k] = p
	}
	l.people[k] = p
	p.watchers, p.tier = 1, l.tierOf(p)
	switch age := l.now.Sub(p.read); {
	case p.read.IsZero() || age >= l.plan.interval:
		l.push(p, placeUrgent)
	case age >= l.plan.tiers[tierHot]/2:
		l.push(p, placeEarly)
	default:
		l.push(p, placeHot)
	}
}

func (l *slowList) remove(k userKey) {
	p := l.people[k]
	if p == nil {
		return
	}
	if p.watchers--; p.watchers > 0 {
		return
	}
	delete(l.people, k)
	if p.read.IsZero() {
		delete(l.known, k)
	}
}

func (l *slowList) hear(k userKey, words string) {
	p := l.known[k]
	if p == nil {
		p = &slowPerson{key: k}
		l.known[k] = p
	}
	if p.read.IsZero() {
		p.changed = l.now.Add(-l.temper.hot)
	} else if words != p.words {
		p.changed = l.now
	}
	p.read, p.words = l.now, words
	if l.people[k] != nil {
		p.tier = l.tierOf(p)
		l.push(p, placeOf(p.tier))
	}
}

func (l *slowList) ask(k userKey) {
	p := l.known[k]
	if p == nil || !p.touched.IsZero() && l.now.Sub(p.touched) < askedAgain {
		return
	}
	p.touched = l.now
	if l.people[k] == nil || p.tier == tierHot {
		return
	}
	p.tier = tierHot
	if p.place != placeNormal && p.place != placeQuiet {
		return
	}
	hot, age := l.plan.tiers[tierHot], l.now.Sub(p.since)
	switch {
	case p.since.Add(l.plan.tiers[p.place-placeHot]).Compare(l.now.Add(hot)) <= 0:
	case age >= hot/2 && age >= l.plan.floor:
		l.push(p, placeEarly)
	default:
		l.push(p, placeHot)
	}
}

// take looks at everybody for each turn. Of those who came early only the first
// has a claim.
func (l *slowList) take(n int) []userKey {
	due := func(p *slowPerson) time.Time {
		if p.place == placeEarly {
			return p.since
		}
		return p.since.Add(l.plan.tiers[p.place-placeHot])
	}
	var keys []userKey
	for len(keys) < n {
		var all []*slowPerson
		var early *slowPerson
		for _, p := range l.people {
			if p.place == placeEarly && (early == nil || p.turn < early.turn) {
				early = p
			}
		}
		for _, p := range l.people {
			switch {
			case !p.place.swept(), p.place == placeEarly && p != early:
			case p.place != placeEarly && l.plan.tiered() && l.now.Sub(p.since) < l.plan.floor:
			default:
				all = append(all, p)
			}
		}
		if len(all) == 0 {
			break
		}
		next := slices.MinFunc(all, func(a, b *slowPerson) int {
			return cmp.Or(due(a).Compare(due(b)), int(b.place)-int(a.place), a.turn-b.turn)
		})
		next.place = placeAway
		keys = append(keys, next.key)
	}
	return keys
}

func (l *slowList) takeUrgent(n int) []userKey {
	var all []*slowPerson
	for _, p := range l.people {
		if p.place == placeUrgent {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *slowPerson) int { return a.turn - b.turn })
	var keys []userKey
	for _, p := range all[:min(n, len(all))] {
		p.place = placeAway
		keys = append(keys, p.key)
	}
	return keys
}

func (l *slowList) giveBack(keys []userKey) {
	for i, k := range keys {
		if p := l.people[k]; p != nil && p.place == placeAway {
			p.place, p.turn = placeEarly, -1000*(l.turn+1)+i
		}
	}
	l.turn++
}

func (l *slowList) pass(k userKey) {
	if p := l.people[k]; p != nil && p.place == placeAway {
		l.push(p, placeQuiet)
	}
}

func TestTheOrderIsThatOfASlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache(100_000, time.Second, time.Unix(0, 0), &counters{})
		c.temper = temper{hot: 2 * time.Minute, quiet: 20 * time.Minute, gone: 5 * time.Minute}
		p := &plan{floor: 20 * time.Second, interval: time.Duration(rapid.IntRange(20, 200).Draw(t, "sweep")) * time.Second}
		p.people = 100
		p.counts = [allTiers]int{
			rapid.IntRange(0, 30).Draw(t, "hot"), rapid.IntRange(0, 30).Draw(t, "normal"), 40,
		}
		p.people = p.counts[0] + p.counts[1] + p.counts[2]
		p.readings = p.people
		p.share(time.Hour)
		c.paced(p)
		c.floor = p.floor
		w := newWatchlist(c)
		l := &slowList{
			people: make(map[userKey]*slowPerson), known: make(map[userKey]*slowPerson),
			plan: p, temper: c.temper, now: c.epoch,
		}
		some := func() userKey { return userKey{byte(rapid.IntRange(0, 11).Draw(t, "key"))} }
		var away [][]userKey
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			l.now = l.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 10, 40, 100, 300}).Draw(t, "seconds")) * time.Second)
			k := some()
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				w.add([]userKey{k}, l.now)
				l.add(k)
			case 2:
				w.remove([]userKey{k})
				l.remove(k)
			case 3:
				words := rapid.SampledFrom([]string{"Available", "Busy", "Offline"}).Draw(t, "words")
				_, rec, _ := c.apply(k, &Presence{Words: mapping.Presence{Availability: words}}, l.now, false)
				w.read([]heard{{key: k, tier: rec.tier}}, l.now)
				l.hear(k, words)
			case 4, 5:
				n := rapid.IntRange(1, 8).Draw(t, "n")
				got, _ := w.take(n, p, l.now)
				if want := l.take(n); !slices.Equal(got, want) {
					t.Fatalf("took %v, want %v", got, want)
				}
				away = append(away, got)
			case 6:
				got := w.takeUrgent(3)
				if want := l.takeUrgent(3); !slices.Equal(got, want) {
					t.Fatalf("took urgently %v, want %v", got, want)
				}
				away = append(away, got)
			case 7:
				if _, _, stir := c.ask(k, l.now); stir {
					w.stir(k, l.now)
				}
				l.ask(k)
			case 8:
				if len(away) == 0 {
					break
				}
				if len(away[0]) == 1 {
					w.pass(away[0][0], l.now)
					l.pass(away[0][0])
				}
				w.giveBack(away[0])
				l.giveBack(away[0])
				away = away[1:]
			}
			tiers, watchers := [allTiers]int{}, make(map[userKey]int)
			for k, p := range l.people {
				tiers[p.tier]++
				watchers[k] = p.watchers
			}
			if tiers != w.count() {
				t.Fatalf("tiers %v, want %v", w.count(), tiers)
			}
			if wrong := w.check(watchers); wrong != "" {
				t.Fatal(wrong)
			}
		}
	})
}

// drill refreshes without goroutines: each step is one request, answered at once.
type drill struct {
	refresher
	c     *cache
	w     *watchlist
	now   time.Time
	words func(k userKey) string
	flat  bool // everybody alike, as it is without tiers
}

func newDrill(size int, floor, ceiling time.Duration, rate float64) *drill {
	d := &drill{now: time.Unix(0, 0), words: func(userKey) string { return "Available" }}
	d.c = newCache(size, floor, d.now, &counters{})
	d.c.floor = floor
	d.w = newWatchlist(d.c)
	d.refresher = refresher{list: d.w, floor: floor, ceiling: ceiling, rate: rate}
	return d
}

func (d *drill) planned() plan {
	p := d.plan()
	if d.flat {
		p.divide(p.interval, p.interval)
	}
	d.c.paced(&p)
	return p
}

// look reads whoever is newly watched.
func (d *drill) look() {
	for keys := d.w.takeUrgent(maxBatch); len(keys) > 0; keys = d.w.takeUrgent(maxBatch) {
		d.answer(keys)
	}
}

// step does what comes next, and returns how many were asked for.
func (d *drill) step() int {
	p := d.planned()
	d.now = d.now.Add(p.step())
	keys, _ := d.w.take(p.fill(), &p, d.now)
	d.answer(keys)
	return len(keys)
}

func (d *drill) answer(keys []userKey) {
	read := make([]heard, 0, len(keys))
	for _, k := range keys {
		w := d.words(k)
		_, rec, _ := d.c.apply(k, &Presence{Words: mapping.Presence{Availability: w, Activity: w}}, d.now, false)
		read = append(read, heard{key: k, tier: rec.tier})
	}
	d.w.read(read, d.now)
}

func (d *drill) ask(k userKey) {
	if _, _, stir := d.c.ask(k, d.now); stir {
		d.w.stir(k, d.now)
	}
}

func number(n int) userKey { return userKey{byte(n >> 16), byte(n >> 8), byte(n), 1} }

// Whoever asks, changes, joins and leaves, and however many at once: nobody's
// reading grows older than the bound.
func TestNobodyGrowsOlderThanTheBoundWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ceiling := time.Duration(rapid.SampledFrom([]int{60, 200, 3600}).Draw(t, "ceiling")) * time.Second
		rate := rapid.SampledFrom([]float64{0.05, 0.1, 1}).Draw(t, "requests per second")
		d := newDrill(100_000, 20*time.Second, ceiling, rate)
		d.c.temper = temper{hot: time.Minute, quiet: 10 * time.Minute, gone: 3 * time.Minute}
		const crowd = 2000
		words := make(map[userKey]string)
		d.words = func(k userKey) string { return cmp.Or(words[k], "Offline") }
		watched := make([]bool, crowd)
		several := func(do func(n int)) {
			first := rapid.IntRange(0, crowd-1).Draw(t, "from")
			for i := range rapid.SampledFrom([]int{1, 50, 700, crowd}).Draw(t, "how many") {
				do((first + i) % crowd)
			}
		}
		turn := 0
		var bound time.Duration
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			turn++
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				several(func(n int) {
					if !watched[n] {
						watched[n] = true
						d.w.add([]userKey{number(n)}, d.now)
					}
				})
			case 1:
				several(func(n int) {
					if watched[n] {
						watched[n] = false
						d.w.remove([]userKey{number(n)})
					}
				})
			case 2:
				several(func(n int) { d.ask(number(n)) })
			case 3:
				several(func(n int) { words[number(n)] = fmt.Sprint("word ", turn%3) })
			case 4:
				several(func(n int) { words[number(n)] = "Offline" })
			}
			d.look()
			for range rapid.IntRange(0, 6).Draw(t, "requests") {
				p := d.planned()
				bound = max(bound, p.bound()+p.step())
				if n := d.step(); n > maxBatch {
					t.Fatalf("a request for %d", n)
				}
				if all, _ := d.c.ages(d.now); all.Max() > bound {
					t.Fatalf("somebody is %s old, the bound is %s; %+v", all.Max(), bound, p)
				}
			}
		}
	})
}

// With half of the people away and a few in conversations, those are read far
// more often than without tiers, and the others hardly less.
func TestWhereThereAreQuietPeopleTheOthersAreFresher(t *testing.T) {
	const crowd, hot, busy = 13_000, 400, 1600
	measure := func(flat bool) (ages [allTiers]Ages, oldest time.Duration, requests float64) {
		d := newDrill(crowd, 20*time.Second, time.Hour, 0.2)
		d.flat = flat
		d.c.temper = temper{hot: 5 * time.Minute, quiet: 24 * time.Hour, gone: 5 * time.Minute}
		d.words = func(k userKey) string {
			if n := int(k[0])<<16 | int(k[1])<<8 | int(k[2]); n < hot+busy {
				return "Available"
			}
			return "Offline"
		}
		for n := range crowd {
			d.w.add([]userKey{number(n)}, d.now)
		}
		d.look()
		ask := func() {
			for n := range hot {
				d.ask(number(n))
			}
		}
		for d.now.Before(d.c.epoch.Add(15 * time.Minute)) {
			ask()
			d.step()
		}
		began := d.now
		for d.now.Before(began.Add(10 * time.Minute)) {
			ask()
			d.step()
			if requests++; int(requests)%3 > 0 {
				continue
			}
			for n := range crowd {
				rec, _ := d.c.get(number(n))
				age := d.c.age(&rec, d.now)
				group := tierQuiet
				if n < hot {
					group = tierHot
				} else if n < hot+busy {
					group = tierNormal
				}
				ages[group].add(age)
				oldest = max(oldest, age)
			}
		}
		p := d.planned()
		if !flat {
			require.Equal(t, [allTiers]int{hot, busy, crowd - hot - busy}, p.counts)
			require.LessOrEqual(t, oldest, p.tiers[tierQuiet]+2*p.step())
			require.LessOrEqual(t, ages[tierHot].Max(), p.tiers[tierHot]+2*p.step())
			require.LessOrEqual(t, ages[tierNormal].Max(), p.tiers[tierNormal]+2*p.step())
		}
		return ages, oldest, requests / d.now.Sub(began).Seconds()
	}
	tiered, oldest, rate := measure(false)
	flat, uniform, uniformRate := measure(true)
	t.Logf("hot: p50 %s, max %s; without tiers p50 %s, max %s", tiered[tierHot].Quantile(0.5), tiered[tierHot].Max(), flat[tierHot].Quantile(0.5), flat[tierHot].Max())
	t.Logf("normal: max %s, quiet: max %s; without tiers %s", tiered[tierNormal].Max(), oldest, uniform)
	require.LessOrEqual(t, 2*tiered[tierHot].Quantile(0.5), flat[tierHot].Quantile(0.5))
	require.LessOrEqual(t, 2*tiered[tierHot].Max(), flat[tierHot].Max())
	require.Less(t, tiered[tierNormal].Max(), flat[tierNormal].Max())
	require.LessOrEqual(t, oldest, uniform*3/2)
	require.InDelta(t, uniformRate, rate, 0.01)
	require.LessOrEqual(t, rate, 0.201)
}
