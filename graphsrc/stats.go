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
	// Interval is how often a watched person is read, as planned: it grows
	// with the number watched.
	Interval time.Duration
	// OldestAge and MeanAge tell how long ago Graph said what is known of
	// watched people. People never read, and those whom Graph refuses, are not
	// among them.
	OldestAge, MeanAge time.Duration
	Sweeps             uint64 // rounds of refreshing
	SweepRequests      uint64 // presence requests in the refresh lane, failed ones included
	BehindCeiling      bool   // Interval is above Options.WatchCeiling
}

type counters struct {
	hits, misses, stale, requests, failures, ids, refused, changes, regressions,
	held, missing, foreign, bisections, quarantined, sweeps, sweepRequests atomic.Uint64
}

// Stats returns the counts; each is exact, together they are not one moment. It
// looks at everybody who is watched: call it for a metric, not for a request.
func (s *Source) Stats() Stats {
	c := &s.counters
	plan := s.refresher.plan()
	oldest, mean := s.cache.ages(s.clk.Now())
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), StaleServed: c.stale.Load(), Requests: c.requests.Load(),
		Failures: c.failures.Load(), IDs: c.ids.Load(), Refused: c.refused.Load(), Changes: c.changes.Load(),
		Regressions: c.regressions.Load(), Held: c.held.Load(), Missing: c.missing.Load(), Foreign: c.foreign.Load(),
		Bisections: c.bisections.Load(), Quarantined: c.quarantined.Load(), Known: s.cache.size(),
		Watched: plan.people, Interval: plan.interval, OldestAge: oldest, MeanAge: mean,
		Sweeps: c.sweeps.Load(), SweepRequests: c.sweepRequests.Load(), BehindCeiling: plan.interval > s.refresher.ceiling,
	}
}
