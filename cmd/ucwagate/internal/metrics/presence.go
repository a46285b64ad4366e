package metrics

import (
	"sort"
	"time"

	"ucwagate/graphsrc"
)

var presenceTable = newTable(perTenant,
	counterBy("ucwagate_presence_readings_total", "Readings of a presence wanted by clients: answered from memory (hit), or asked of Graph (miss).", "result",
		func(s *graphsrc.Stats, to sink) {
			to.value(float64(s.Hits), "hit")
			to.value(float64(s.Misses), "miss")
		}),
	counter("ucwagate_presence_stale_served_total", "Readings served although they were old, because Graph failed.",
		func(s *graphsrc.Stats) uint64 { return s.StaleServed }),
	counter("ucwagate_presence_refused_ids_total", "People turned away because the budget could not serve them in time.",
		func(s *graphsrc.Stats) uint64 { return s.Refused }),
	counter("ucwagate_presence_requests_total", "Presence requests, failed ones included.",
		func(s *graphsrc.Stats) uint64 { return s.Requests }),
	counter("ucwagate_presence_request_failures_total", "Presence requests that failed.",
		func(s *graphsrc.Stats) uint64 { return s.Failures }),
	counter("ucwagate_presence_request_ids_total", "People asked for in presence requests.",
		func(s *graphsrc.Stats) uint64 { return s.IDs }),
	counter("ucwagate_presence_changes_total", "Readings that differed from the one before.",
		func(s *graphsrc.Stats) uint64 { return s.Changes }),
	counter("ucwagate_presence_regressions_total", "Readings not believed, because they were older than what is known.",
		func(s *graphsrc.Stats) uint64 { return s.Regressions }),
	counter("ucwagate_presence_held_unknown_total", "Readings of an unknown presence that were held back.",
		func(s *graphsrc.Stats) uint64 { return s.Held }),
	counter("ucwagate_presence_missing_ids_total", "People asked for whom an answer left out.",
		func(s *graphsrc.Stats) uint64 { return s.Missing }),
	counter("ucwagate_presence_foreign_entries_total", "Entries of answers about people nobody had asked for.",
		func(s *graphsrc.Stats) uint64 { return s.Foreign }),
	counter("ucwagate_presence_bisections_total", "Batches halved because Graph refused them.",
		func(s *graphsrc.Stats) uint64 { return s.Bisections }),
	counter("ucwagate_presence_quarantined_ids_total", "Refusals of a single person.",
		func(s *graphsrc.Stats) uint64 { return s.Quarantined }),
	gauge("ucwagate_presence_known_people", "People whose presence is remembered.",
		func(s *graphsrc.Stats) float64 { return float64(s.Known) }),
	counter("ucwagate_presence_notified_changes_total", "Notifications of a change that were applied.",
		func(s *graphsrc.Stats) uint64 { return s.Notified }),
	counter("ucwagate_presence_missed_changes_total", "Changes that should have been notified, and that a reading has found.",
		func(s *graphsrc.Stats) uint64 { return s.Missed }),

	gaugeBy("ucwagate_watched_people", "People watched by some client, by how often they are read; the tiers add up to all of them.", "tier",
		func(s *graphsrc.Stats, to sink) {
			for _, t := range tiersOf(s) {
				to.value(float64(t.People), t.name)
			}
		}),
	gaugeBy("ucwagate_watched_interval_seconds", "Planned time between two readings of a person.", "tier",
		func(s *graphsrc.Stats, to sink) {
			for _, t := range tiersOf(s) {
				to.value(t.Interval.Seconds(), t.name)
			}
		}),
	gauge("ucwagate_refresh_interval_seconds", "Planned time of a sweep over the people watched.",
		func(s *graphsrc.Stats) float64 { return s.Interval.Seconds() }),
	gauge("ucwagate_refresh_behind_ceiling", "1 while the planned time of a sweep is above the configured ceiling.",
		func(s *graphsrc.Stats) float64 {
			if s.BehindCeiling {
				return 1
			}
			return 0
		}),
	gauge("ucwagate_refresh_last_sweep_seconds", "How long the last completed sweep took; 0 before the first.",
		func(s *graphsrc.Stats) float64 { return s.SweepTime.Seconds() }),
	counter("ucwagate_refresh_sweeps_total", "Sweeps completed.",
		func(s *graphsrc.Stats) uint64 { return s.Sweeps }),
	counter("ucwagate_refresh_requests_total", "Presence requests of sweeps, failed ones included.",
		func(s *graphsrc.Stats) uint64 { return s.SweepRequests }),

	gauge("ucwagate_presence_age_bound_seconds", "Age that what is known of a watched person does not exceed while Graph answers.",
		func(s *graphsrc.Stats) float64 { return s.AgeBound.Seconds() }),
	gauge("ucwagate_presence_age_oldest_seconds", "Age of the oldest of what is known now of watched people.",
		func(s *graphsrc.Stats) float64 { return s.OldestAge.Seconds() }),
	gauge("ucwagate_presence_age_mean_seconds", "Mean age of what is known now of watched people.",
		func(s *graphsrc.Stats) float64 { return s.MeanAge.Seconds() }),
	gauge("ucwagate_presence_age_expected_seconds", "Mean age to be expected by the plan: half the interval of each person's tier.",
		func(s *graphsrc.Stats) float64 { return expectedAge(s).Seconds() }),
	histogram("ucwagate_presence_age_known_seconds", "Ages of what is known at this moment of watched people. A snapshot: use it without rate().",
		func(s *graphsrc.Stats, to sink) {
			n, _, buckets := distribution(&s.Ages)
			to.histogram(n, s.MeanAge.Seconds()*float64(n), buckets)
		}),
	histogram("ucwagate_presence_age_served_seconds", "Ages of presence at the moment when it was served, since the start.",
		func(s *graphsrc.Stats, to sink) { to.histogram(distribution(&s.Served)) }),
)

type namedTier struct {
	name string
	graphsrc.TierStats
}

func tiersOf(s *graphsrc.Stats) [4]namedTier {
	return [4]namedTier{{"hot", s.Hot}, {"normal", s.Normal}, {"quiet", s.Quiet}, {"pushed", s.Pushed}}
}

// expectedAge is the mean age of people who are read at even intervals, each at
// that of the own tier: half of it.
func expectedAge(s *graphsrc.Stats) time.Duration {
	var people, ages float64
	for _, t := range tiersOf(s) {
		people += float64(t.People)
		ages += float64(t.People) * float64(t.Interval) / 2
	}
	if people == 0 {
		return 0
	}
	return time.Duration(ages / people)
}

// ageLimits are the upper limits of the buckets of ages. The shortest interval
// between readings is 5 s, the usual one 20 s, and what is older than 5 min is
// usually not served.
var ageLimits = [...]time.Duration{
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 20 * time.Second,
	30 * time.Second, 45 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute,
}

// quantiles are counted ages, *graphsrc.Ages.
type quantiles interface {
	// Count is how many ages were counted.
	Count() uint64
	// Quantile is the age that a share q of the ages, from 0 to 1, does not
	// exceed.
	Quantile(q float64) time.Duration
}

// distribution returns how many ages were counted, their sum in seconds and how
// many do not exceed each limit, as Prometheus counts them. Ages are known to
// an eighth; where that leaves a doubt they are taken to be higher, so the sum
// may be too high by an eighth. All three only grow while ages are counted.
//
// The counts are told by quantiles: ages of equal quantile are taken together,
// so the work depends on how many different ones there are, a few hundred.
func distribution(a quantiles) (n uint64, sum float64, buckets map[float64]uint64) {
	n, buckets = a.Count(), make(map[float64]uint64, len(ageLimits))
	for _, limit := range ageLimits {
		buckets[limit.Seconds()] = 0
	}
	// The middle of a rank, so that no rounding reaches the next.
	age := func(rank uint64) time.Duration { return a.Quantile((float64(rank) - 0.5) / float64(n)) }
	for rank := uint64(1); rank <= n; {
		this := age(rank)
		equal := 1 + uint64(sort.Search(int(n-rank), func(i int) bool { return age(rank+1+uint64(i)) > this }))
		sum += this.Seconds() * float64(equal)
		for _, limit := range ageLimits {
			if this <= limit {
				buckets[limit.Seconds()] += equal
			}
		}
		rank += equal
	}
	return n, sum, buckets
}
