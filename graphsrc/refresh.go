package graphsrc

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

const (
	minRefreshRate = 0.001
	maxRefreshRate = 1_000_000
	// deniedPause is how long the loop rests when it may not read presence.
	deniedPause = 10 * time.Second
	// maxHalvings makes a batch of one out of maxBatch.
	maxHalvings = 10
	// maxRefreshPause bounds a Retry-After that the loop honours. The budget
	// knows the true length of a pause; this only saves questions in vain.
	maxRefreshPause = time.Minute
)

// refresher reads everybody who is watched, again and again, each as often as
// the plan says.
//
// There is one request every step of the plan, all day long, and no beginning
// or end of a sweep to wait for: each step looks at how many are watched now and
// takes those who are due first. With tiers it takes as many as a request
// holds: whoever of all tiers is next fills it up. Everything the lane sends
// counts against the rate, repetitions and bisections too, so refreshing never
// has more than its share.
//
// A step that comes late is not made up for. A batch that failed is at the
// front again, and the next step takes it at its own time. When Graph hangs,
// at most maxInFlight batches wait for it, and no step is taken until one ends.
//
// Each failure in a row halves the next batch, down to a single person, who then
// goes to the back; the first success makes batches whole again. So a person
// over whom Graph stumbles without blaming an id delays the others and does not
// starve them, and while Graph is down for all, what is asked in vain is small.
type refresher struct {
	coalescer *coalescer
	list      *watchlist
	life      *lifetime
	clk       clock.Clock
	log       *slog.Logger

	floor, ceiling, safetyNet time.Duration
	rate                      float64

	share *sharing // nil unless there are other sources

	wake    chan struct{} // the plan has changed
	batches atomic.Int64  // of all people of the plan that run goes by
	slots   chan struct{} // batches under way
	failing atomic.Int32  // batches that failed in a row
	hold    atomic.Int64  // nothing is asked before; nanoseconds since the cache's epoch

	// What follows belongs to run.
	last    time.Time // when the last step was due
	swept   time.Time // when the last sweep was complete
	paid    int64     // requests of the lane that steps have paid for
	covered int       // readings of this sweep
	logged  time.Duration
	behind  bool
}

func newRefresher(o *Options, c *coalescer, list *watchlist) *refresher {
	return &refresher{
		coalescer: c, list: list, life: c.life, clk: o.Clock, log: o.Logger,
		floor: o.WatchFloor, ceiling: o.WatchCeiling, safetyNet: o.SafetyNet, rate: o.RefreshRate,
		wake: make(chan struct{}, 1), slots: make(chan struct{}, maxInFlight), logged: o.WatchFloor,
	}
}

func (r *refresher) plan() plan {
	p := plan{counts: r.list.count(), floor: r.floor}
	p.fit(r.safetyNet, r.worth)
	p.share(r.ceiling)
	return p
}

// worth is the time in which the rate admits a number of requests.
func (r *refresher) worth(requests int) time.Duration {
	return time.Duration(float64(requests) / r.rate * float64(time.Second))
}

// replan tells run that the number of people has changed by so much that the plan
// may be another.
func (r *refresher) replan() {
	if int64(batchesOf(r.list.size())) == r.batches.Load() {
		return
	}
	r.rouse()
}

// rouse has run look at the plan again.
func (r *refresher) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// idle says that another source reads for all. The plan holds all the same: it
// tells how long what that one has read is fresh.
func (r *refresher) idle() bool { return r.share != nil && r.share.shared.Role() == Following }

// run refreshes until ctx ends.
func (r *refresher) run(ctx context.Context) {
	cache := r.coalescer.cache
	defer cache.paced(nil)
	for ctx.Err() == nil {
		p := r.plan()
		r.batches.Store(int64(batchesOf(p.people)))
		if batchesOf(r.list.size()) != batchesOf(p.people) {
			continue // replan may have compared with what stood before
		}
		cache.paced(&p)
		r.report(&p)
		if p.people == 0 || r.idle() {
			r.last, r.covered = time.Time{}, 0
			select {
			case <-r.wake:
			case <-ctx.Done():
			}
			continue
		}
		if r.last.IsZero() {
			// Whoever is watched first has just been looked at.
			r.last = r.clk.Now()
			r.swept = r.last
		}
		if wait := r.due(&p).Sub(r.clk.Now()); wait > 0 {
			r.sleep(ctx, wait)
			continue
		}
		select {
		case r.slots <- struct{}{}:
			r.step(ctx, &p)
		case <-ctx.Done():
		}
	}
}

// due is when the next step is to be taken.
func (r *refresher) due(p *plan) time.Time {
	at := r.last.Add(p.step() + r.worth(max(r.debt(), 0)))
	if t := r.coalescer.cache.epoch.Add(time.Duration(r.hold.Load())); t.After(at) {
		at = t
	}
	return at
}

// debt is how many more requests the lane has sent than steps were taken: halves
// of refused batches and repetitions. It is below zero while answers are out, and
// where batches travel with requests of other lanes.
func (r *refresher) debt() int {
	return int(int64(r.coalescer.stats.sweepRequests.Load()) - r.paid)
}

// settle has the next step pay for what those before it cost more than a request
// each. What they cost less is no credit, beyond those that may be under way.
func (r *refresher) settle() {
	debt := r.debt()
	if debt > 0 {
		r.last = r.last.Add(r.worth(debt))
	}
	r.paid += int64(max(debt, 0) + min(debt+maxInFlight, 0) + 1)
}

// sleep waits, or returns earlier when the plan changes.
func (r *refresher) sleep(ctx context.Context, d time.Duration) {
	passed := make(chan struct{})
	t := r.clk.AfterFunc(d, func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// step sends the next batch on its way. It owns a slot, which the batch gives
// back.
func (r *refresher) step(ctx context.Context, p *plan) {
	now := r.clk.Now()
	r.settle()
	r.last = r.last.Add(p.step())
	if now.Sub(r.last) >= p.step() {
		r.last = now // late for good: go on from here
	}
	keys, seen := r.list.take(max(p.fill()>>r.failing.Load(), 1), p, now)
	if r.covered += seen; r.covered >= p.readings {
		r.covered = 0
		r.coalescer.stats.sweeps.Add(1)
		r.coalescer.stats.sweepTime.Store(int64(now.Sub(r.swept)))
		r.swept = now
	}
	if len(keys) == 0 {
		<-r.slots
		return
	}
	r.life.fork()
	go func() {
		defer r.life.leave()
		err := r.coalescer.renew(ctx, budget.Refresh, keys, max(r.coalescer.timeout, p.interval))
		if err != nil && len(keys) < p.size() && len(keys) == 1 {
			r.list.pass(keys[0], r.clk.Now())
		}
		r.list.giveBack(keys)
		if ctx.Err() == nil {
			r.learn(err)
		}
		<-r.slots
	}()
}

// learn takes the outcome of a batch: the next one is smaller after a failure
// that may lie in what was asked, and later where asking is known to be in vain.
func (r *refresher) learn(err *Error) {
	if err == nil {
		r.failing.Store(0)
		return
	}
	switch err.Kind {
	case KindUnavailable, KindMalformed, KindTimeout:
		if n := r.failing.Load(); n < maxHalvings {
			r.failing.CompareAndSwap(n, n+1)
		}
	}
	rest := min(err.RetryAfter, maxRefreshPause)
	if err.Kind == KindForbidden {
		rest = max(rest, deniedPause)
	}
	r.log.Debug("a refresh of presence failed", "error", err, "rest", rest)
	if rest <= 0 {
		return
	}
	until := int64(r.clk.Now().Sub(r.coalescer.cache.epoch) + rest)
	for {
		held := r.hold.Load()
		if held >= until || r.hold.CompareAndSwap(held, until) {
			return
		}
	}
}

// report logs an interval that is twice or half of the one logged last, and
// once that it is above the ceiling.
func (r *refresher) report(p *plan) {
	if p.interval >= 2*r.logged || 2*p.interval <= r.logged {
		r.logged = p.interval
		r.log.Info("presence is refreshed at another interval",
			"interval", p.interval, "hot", p.tiers[tierHot], "quiet", p.tiers[tierQuiet],
			"watched", p.people, "pushed", p.counts[tierPushed], "requests_per_sweep", p.batches)
	}
	switch {
	case p.interval > r.ceiling && !r.behind:
		r.behind = true
		r.log.Warn("more people are watched than the budget can refresh in time",
			"interval", p.interval, "ceiling", r.ceiling, "watched", p.people, "requests_per_second", r.rate)
	case p.interval < r.ceiling-r.ceiling/5:
		r.behind = false // well below, so that the warning does not flap
	}
}

const (
	// lookAttempts is how often somebody newly watched is read at once, with
	// pauses that double from lookPause, before they wait for the sweep.
	lookAttempts = 3
	lookPause    = time.Second
)

// looker reads people whom nobody watched before. It runs only while there are
// some. While requests of earlier callers are under way those of later ones
// gather, so a crowd that arrives one by one leaves in full batches.
type looker struct {
	coalescer *coalescer
	list      *watchlist
	life      *lifetime
	clk       clock.Clock
	share     *sharing      // nil unless there are other sources
	within    time.Duration // how long a batch may wait for the budget
	slots     chan struct{}
}

// wake starts the looker; the list says when it must.
func (l *looker) wake() {
	if l.life.enter() {
		go l.run()
	}
}

func (l *looker) run() {
	defer l.life.leave()
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.life.ctx.Done():
			return
		}
		keys := l.list.takeUrgent(maxBatch)
		if len(keys) == 0 {
			<-l.slots
			return
		}
		l.life.fork()
		go func() {
			defer l.life.leave()
			l.look(keys)
			<-l.slots
		}()
	}
}

// look reads people; those it cannot read are the next of the sweep.
func (l *looker) look(keys []userKey) {
	if l.share == nil {
		l.ask(keys)
		return
	}
	now, later := l.share.first(l.life.ctx, keys)
	if len(now) > 0 {
		l.ask(now)
	}
	if len(later) > 0 && clock.Wait(l.life.ctx, l.clk, leaderWait+rand.N(leaderWait/3)) {
		later = l.list.away(later)
	}
	if len(later) > 0 {
		l.ask(later)
	}
}

// ask asks Graph for people.
func (l *looker) ask(keys []userKey) {
	for attempt := range lookAttempts {
		err := l.coalescer.renew(l.life.ctx, budget.FirstLook, keys, l.within)
		if keys = l.list.away(keys); len(keys) == 0 {
			return
		}
		if err == nil || attempt == lookAttempts-1 {
			break
		}
		wait := max(lookPause<<attempt, min(err.RetryAfter, maxRefreshPause))
		if !clock.Wait(l.life.ctx, l.clk, wait+rand.N(wait/2)) {
			break
		}
		if keys = l.list.away(keys); len(keys) == 0 {
			return
		}
	}
	l.list.giveBack(keys)
}
