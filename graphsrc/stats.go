package graphsrc

import (
	"sync/atomic"
	"time"
)

// Stats counts what has happened since New.
type Stats struct {
	Hits        uint64 // readings answered from memory
	Misses      uint64 // readings asked for
	StaleServed uint64 // readings served although Graph failed
	Requests    uint64 // presence requests, failed ones included
	Failures    uint64 // presence requests that failed
	IDs         uint64 // ids in those requests
	Refused     uint64 // ids turned away because the budget could not serve them in time
	Changes     uint64 // readings that differed from the one before
	Regressions uint64 // readings not believed for their sequence number
	Held        uint64 // unknown readings held back
	Missing     uint64 // ids asked for that an answer left out
	Foreign     uint64 // entries of answers that nobody asked for
	Bisections  uint64 // batches halved after a refusal
	Quarantined uint64 // refusals of a single id
	Known       int    // people whose presence is remembered

	Watched int // people somebody watches
	// Interval is how long a sweep is planned to take: as many readings as
	// people are watched, fewer where changes are notified. Without tiers it is the time between two readings of
	// a person. It grows with the number watched.
	Interval time.Duration
	// Hot, Normal and Quiet are the tiers. Their intervals are equal while the
	// budget suffices for everybody, and again when Interval is above the ceiling.
	Hot, Normal, Quiet TierStats
	// Pushed are the people whose changes are notified, and how often they are
	// read all the same.
	Pushed TierStats
	// Notified are the notifications that were applied, Missed the changes of
	// such people that a reading has found.
	Notified, Missed uint64
	// AgeBound is the age that no reading of a watched person exceeds while Graph
	// answers, is believed, and refreshing has its rate, plus Interval /
	// ⌈Watched/650⌉ and the time of an answer. Usually nobody exceeds the interval
	// of the own tier.
	AgeBound time.Duration
	// Ages are the ages at this moment of what is known of watched people: how
	// long ago Graph said it. OldestAge and MeanAge are of the same ages. People
	// never read, and those whom Graph refuses, are not among them.
	Ages               Ages
	OldestAge, MeanAge time.Duration
	// Served are the ages of all readings at the moment when Presence or
	// Presences returned them, since New.
	Served        Ages
	Sweeps        uint64        // sweeps completed
	SweepTime     time.Duration // how long the last of them took; 0 before the first
	SweepRequests uint64        // presence requests in the refresh lane, failed ones included
	BehindCeiling bool          // Interval is above Options.WatchCeiling
}

// TierStats is a part of the people watched, who are read equally often.
type TierStats struct {
	People   int
	Interval time.Duration // between two readings of one of them, as planned
}

type counters struct {
	hits, misses, stale, requests, failures, ids, refused, changes, regressions,
	held, missing, foreign, bisections, quarantined, sweeps, sweepRequests, notified, missed atomic.Uint64
	sweepTime atomic.Int64
	served    ageCounter
}

// Stats returns the counts; each is exact, together they are not one moment. It
// looks at everybody who is watched: call it for a metric, not for a request.
func (s *Source) Stats() Stats {
	c := &s.counters
	plan := s.refresher.plan()
	ages, mean := s.cache.ages(s.clk.Now())
	tier := func(t tier) TierStats { return TierStats{People: plan.counts[t], Interval: plan.tiers[t]} }
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), StaleServed: c.stale.Load(), Requests: c.requests.Load(),
		Failures: c.failures.Load(), IDs: c.ids.Load(), Refused: c.refused.Load(), Changes: c.changes.Load(),
		Regressions: c.regressions.Load(), Held: c.held.Load(), Missing: c.missing.Load(), Foreign: c.foreign.Load(),
		Bisections: c.bisections.Load(), Quarantined: c.quarantined.Load(), Known: s.cache.size(),
		Watched: plan.people, Interval: plan.interval, AgeBound: plan.bound(),
		Hot: tier(tierHot), Normal: tier(tierNormal), Quiet: tier(tierQuiet), Pushed: tier(tierPushed),
		Notified: c.notified.Load(), Missed: c.missed.Load(),
		Ages: ages, OldestAge: ages.Max(), MeanAge: mean, Served: c.served.load(),
		Sweeps: c.sweeps.Load(), SweepTime: time.Duration(c.sweepTime.Load()), SweepRequests: c.sweepRequests.Load(),
		BehindCeiling: plan.interval > s.refresher.ceiling,
	}
}
