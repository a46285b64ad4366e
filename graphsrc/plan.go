package graphsrc

import (
	"math"
	"time"
)

// tier says how often a watched person is read.
type tier uint8

const (
	tierHot    tier = iota // somebody asked for the person, or they changed, a short while ago
	tierNormal             // everybody else
	tierQuiet              // unasked for and unchanged for long
	tierCount
	// tierPushed is apart from the others: changes are notified, and the person
	// is read once per Options.SafetyNet only. See push.go.
	tierPushed = tierCount
	allTiers   = tierCount + 1
)

// Times since a client last asked for somebody or they last changed, whichever
// is later: long enough for a conversation, for a meeting without a pause, and
// for a lunch from which somebody comes back.
const (
	hotFor     = 5 * time.Minute  // hot for less than this
	quietAfter = 2 * time.Hour    // quiet from this on
	goneAfter  = 30 * time.Minute // quiet from this on who is Offline or unknown
)

// temper is these times.
type temper struct{ hot, quiet, gone time.Duration }

// tierAfter is the tier of somebody to whom nothing has happened for idle.
func (t *temper) tierAfter(idle time.Duration, gone bool) tier {
	switch {
	case idle < t.hot:
		return tierHot
	case idle >= t.quiet, gone && idle >= t.gone:
		return tierQuiet
	}
	return tierNormal
}

// plan is how everybody is read.
//
// A sweep is as many readings as there are people, of whom those whose changes
// are pushed count for U/S, the part of the safety net's period S that it takes.
// It is B = ⌈readings/650⌉ requests and takes U = max(floor, B/rate). Where the floor is the longer of the two
// there are no tiers: everybody is read once per floor, and nobody more often.
//
// Where the rate is the limit, the intervals of the tiers are a base, twice and
// four times the base, none below the floor and none above
//
//	L = max(U, min(2·U, ceiling))
//
// and the base is the shortest for which all of them together need no more than
// the rate: Σ people/interval ≤ n/U. It lies between U/4 and U, so hot people
// are never read less often than without tiers, and at least twice as often where
// they and half of the normal ones are no more than a quarter of all. When not even U is below the ceiling, L is U, which is to say
// that everybody is read equally late.
type plan struct {
	people   int
	readings int           // per sweep
	batches  int           // requests per sweep
	interval time.Duration // U, the length of a sweep
	floor    time.Duration
	counts   [allTiers]int
	tiers    [allTiers]time.Duration // the time between two readings
}

// fit computes the length of a sweep. worth is the time in which a number of
// requests is admitted.
func (p *plan) fit(safetyNet time.Duration, worth func(requests int) time.Duration) {
	p.people = 0
	for _, n := range p.counts {
		p.people += n
	}
	pushed := p.counts[tierPushed]
	p.interval = p.floor
	// The more a sweep takes, the more of those pushed fall due in it: a few
	// rounds come as near as matters.
	for range 8 {
		part := min(1, float64(p.interval)/float64(safetyNet))
		p.readings = p.people - pushed + int(math.Ceil(float64(pushed)*part))
		p.batches = batchesOf(p.readings)
		interval := max(p.floor, worth(p.batches))
		if interval == p.interval {
			break
		}
		p.interval = interval
	}
	p.tiers[tierPushed] = max(safetyNet, p.interval)
}

// step is the time between two requests.
func (p *plan) step() time.Duration { return p.interval / time.Duration(max(p.batches, 1)) }

// size is how many people a request must ask for.
func (p *plan) size() int {
	batches := max(p.batches, 1)
	return (p.readings + batches - 1) / batches
}

// tiered says whether some people are read more often than others.
func (p *plan) tiered() bool { return p.tiers[tierHot] < p.tiers[tierQuiet] }

// fill is how many people a request may ask for. What is free in one that
// scarcity sends anyway is used; without scarcity it would only read people
// more often than the floor allows.
func (p *plan) fill() int {
	if p.tiered() {
		return max(maxBatch, p.size())
	}
	return p.size()
}

// bound is the age above which no reading grows, whoever joins, becomes hot or
// becomes quiet meanwhile: as long as Graph answers and the budget gives
// refreshing its rate, and to within a step and the time of an answer. It is at
// most 3·U, or U + S if there are people whose changes are pushed. Where nothing of that happens nobody exceeds the interval of the
// own tier.
//
// The earliest due are first, and whoever is read is due L after that or
// sooner. Those who are due before somebody at the moment when they are due themselves
// are at most all the others. Those are read once each, within U, and are due
// later from then on. Who joins with a reading is due after at most 1.5 intervals of the
// hot, counted from the reading, or at once if it is younger than U.
func (p *plan) bound() time.Duration {
	longest := max(p.tiers[tierQuiet], slack(p.tiers[tierHot]))
	if p.counts[tierPushed] > 0 {
		longest = max(longest, p.tiers[tierPushed])
	}
	return p.interval + longest
}

// share computes the intervals of the tiers.
func (p *plan) share(ceiling time.Duration) {
	limit := min(2*p.interval, ceiling)
	if p.interval <= p.floor || limit <= p.interval {
		p.divide(p.interval, p.interval)
		return
	}
	low, high := p.floor>>(tierCount-1), limit
	// The sum of fractions may miss the whole by its last digits.
	most := float64(p.readings) / float64(p.interval) * (1 + 1e-12)
	for low < high {
		base := low + (high-low)/2
		if p.divide(base, limit); p.demand() <= most {
			high = base
		} else {
			low = base + 1
		}
	}
	if p.divide(low, limit); p.tiers[tierQuiet]-p.tiers[tierHot] < p.interval/100 {
		p.divide(p.interval, p.interval) // not worth the name
	}
}

// divide gives each tier its multiple of base.
func (p *plan) divide(base, limit time.Duration) {
	for t := range tierCount {
		interval := limit
		if base <= math.MaxInt64>>t {
			interval = base << t
		}
		p.tiers[t] = min(max(interval, p.floor), limit)
	}
}

// demand is how many readings per nanosecond the tiers need.
func (p *plan) demand() float64 {
	sum := 0.0
	for t, n := range p.counts {
		if n > 0 {
			sum += float64(n) / float64(p.tiers[t])
		}
	}
	return sum
}

func batchesOf(people int) int { return (people + maxBatch - 1) / maxBatch }
