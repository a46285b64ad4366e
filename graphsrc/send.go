package graphsrc

import (
	"context"
	"math/rand/v2"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

const (
	// maxSends bounds what one batch may cost. A single bad id among 650 needs
	// about 20 sends to be found, three need about 60; if Graph refuses more
	// than that, the fault is not in the ids.
	maxSends = 64
	// confusedPause is how long nobody asks after that.
	confusedPause = 10 * time.Second
	// retryPause is how long a failed request waits before its one repetition,
	// plus up to as much again at random.
	retryPause = 200 * time.Millisecond
	// maxLone is how many people of a batch whom Graph refused before travel
	// alone, so that another refusal costs one send and not a bisection. More
	// than that cost less together.
	maxLone = 16
	// maxRetryPause is the longest Retry-After a repetition waits for.
	maxRetryPause = 2 * time.Second
)

// attempt is a set of calls that travel in one request.
type attempt struct {
	calls   []*call
	retried bool
}

// deliver sends a batch with the permit it has, and whatever follows from the
// answers: halves of a refused batch, one repetition of a failed one. Each
// further send waits for a permit of its own, and is dropped if nobody is left
// to wait for it.
func (c *coalescer) deliver(ln budget.Lane, batch []*call, permit *budget.Permit) {
	work := c.isolate(batch)
	for sends := 0; len(work) > 0; {
		a := work[len(work)-1]
		work = work[:len(work)-1]
		if sends > 0 {
			if a.calls = c.wanted(a.calls); len(a.calls) == 0 {
				continue
			}
			var err error
			if permit, err = c.readmit(ln, a.calls); err != nil {
				c.finish(a.calls, asError("get presence", err))
				continue
			}
		}
		sends++
		err := c.send(ln, a.calls, permit)
		switch {
		case err == nil:
		case blamesID(err) && len(a.calls) == 1:
			c.quarantine(a.calls[0], err)
		case blamesID(err) && sends < maxSends:
			half := len(a.calls) / 2
			work = append(work, attempt{calls: a.calls[half:]}, attempt{calls: a.calls[:half]})
			c.stats.bisections.Add(1)
		case blamesID(err):
			c.confused(err)
			c.finish(a.calls, err)
		case !a.retried && mayRepeat(c.life.ctx, c.clk, err):
			work = append(work, attempt{calls: a.calls, retried: true})
		default:
			c.finish(a.calls, err)
		}
	}
}

// isolate parts the people whom Graph refused before from the others, who are
// the last attempt and so the first to be sent.
func (c *coalescer) isolate(batch []*call) []attempt {
	if c.cache.suspects.Load() == 0 || len(batch) == 1 {
		return []attempt{{calls: batch}}
	}
	var good, bad []*call
	for _, one := range batch {
		if rec, _ := c.cache.get(one.key); rec.strikes > 0 {
			bad = append(bad, one)
		} else {
			good = append(good, one)
		}
	}
	var work []attempt
	if len(bad) > maxLone {
		work = append(work, attempt{calls: bad})
	} else {
		for _, one := range bad {
			work = append(work, attempt{calls: []*call{one}})
		}
	}
	if len(good) > 0 {
		work = append(work, attempt{calls: good})
	}
	return work
}

// blamesID says that Graph would not answer because of an id that was asked for.
func blamesID(err *Error) bool { return err.Kind == KindInvalid || err.Kind == KindNotFound }

// confused stops asking for a while after Graph has refused so many parts of a
// batch that the fault cannot be in single ids.
func (c *coalescer) confused(err *Error) {
	c.log.Error("Graph refuses presence batches whatever they hold",
		"status", err.Status, "code", err.Code, "request_id", err.RequestID)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outage.last, c.outage.until = err, c.clk.Now().Add(confusedPause)
}

// mayRepeat waits until a failed request may be repeated; false if it may not.
// One that Graph throttled needs no wait of its own: the budget has closed the
// tap. What the budget itself refused would be refused again.
func mayRepeat(ctx context.Context, clk clock.Clock, err *Error) bool {
	switch err.Kind {
	case KindThrottled:
		return err.Code != CodeBudget
	case KindUnavailable, KindMalformed:
		if err.RetryAfter > maxRetryPause {
			return false
		}
		return clock.Wait(ctx, clk, max(retryPause, err.RetryAfter)+rand.N(retryPause))
	}
	return false
}

// wanted keeps the calls that somebody still waits for.
func (c *coalescer) wanted(calls []*call) []*call {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := make([]*call, 0, len(calls))
	for _, one := range calls {
		if len(one.waiters) > 0 {
			kept = append(kept, one)
		} else {
			c.complete(one, record{}, context.Canceled)
		}
	}
	return kept
}

// readmit acquires a permit for calls that are sent again.
func (c *coalescer) readmit(ln budget.Lane, calls []*call) (*budget.Permit, error) {
	var until time.Time
	c.mu.Lock()
	for _, one := range calls {
		if t := latest(one); t.After(until) {
			until = t
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithDeadline(budget.WithClient(c.life.ctx, presenceClient), until)
	defer cancel()
	return c.permits.Acquire(ctx, ln)
}

// send asks Graph for the calls' presence and applies the answer.
func (c *coalescer) send(ln budget.Lane, calls []*call, permit *budget.Permit) *Error {
	defer permit.Return()
	ctx, cancel := context.WithTimeout(c.life.ctx, c.timeout)
	defer cancel()
	ctx = budget.WithPermit(budget.WithLane(ctx, ln), permit)

	sent := c.clk.Now()
	var answer []Presence
	var err error
	if len(calls) == 1 {
		var p Presence
		p, err = c.graph.Presence(ctx, calls[0].key.String())
		answer = []Presence{p}
	} else {
		ids := make([]string, len(calls))
		for i, one := range calls {
			ids[i] = one.key.String()
		}
		answer, err = c.graph.Presences(ctx, ids)
	}
	c.stats.requests.Add(1)
	if ln == budget.Refresh {
		c.stats.sweepRequests.Add(1)
	}
	c.stats.ids.Add(uint64(len(calls)))

	var failed *Error
	if err != nil {
		if c.life.ctx.Err() != nil {
			err = errClosed
		}
		failed = asError("get presence", err)
		c.stats.failures.Add(1)
	}
	// A 403 on a lone read may be about that one person.
	if failed == nil || failed.Kind != KindForbidden || len(calls) > 1 {
		c.grant.observe(failed)
	}
	c.mu.Lock()
	c.outage.observe(failed, c.clk.Now())
	c.mu.Unlock()
	if failed == nil {
		c.settle(calls, answer, sent)
	}
	return failed
}

// settle applies an answer. Entries are told apart by their id alone: they may
// come in any order, twice, in upper case, for people nobody asked for, or not
// at all. Somebody without an entry is PresenceUnknown, which is what Graph
// says of people it cannot see; an error would make a gap in a reply look like
// a fault of the caller.
//
// Whoever waits is told last: an id is asked for again only after that, so the
// changes of one person are reported one after the other.
func (c *coalescer) settle(calls []*call, answer []Presence, sent time.Time) {
	c.claim(calls)
	l := lesson{at: c.clk.Now(), size: len(calls)}
	if c.share != nil {
		// Of two answers to different sources, which one is newer shows in when they
		// were asked for: this process may have stood still since.
		l.at = sent
	}
	var index map[userKey]int
	find := func(i int, k userKey) (n int, ok bool) {
		if i < len(calls) && calls[i].key == k {
			return i, true // in the order of the question
		}
		if index == nil {
			index = make(map[userKey]int, len(calls))
			for n, one := range calls {
				index[one.key] = n
			}
		}
		n, ok = index[k]
		return n, ok
	}
	found := make([]record, len(calls))
	for i := range answer {
		k, ok := parseKey(answer[i].ID)
		n, mine := find(i, k)
		if !ok || !mine {
			c.stats.foreign.Add(1)
			continue
		}
		if !calls[n].settling {
			continue
		}
		found[n] = c.learn(&l, k, &answer[i], false)
	}
	for i, one := range calls {
		if one.settling && !found[i].known {
			c.stats.missing.Add(1)
			found[i] = c.learn(&l, one.key, unknownPresence(), false)
		}
	}
	c.teach(&l)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, one := range calls {
		c.complete(one, found[i], nil)
	}
}

// claim announces that the answer to calls is about to be applied. Those it
// leaves unmarked are not waiting for it any more.
func (c *coalescer) claim(calls []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		one.settling = !one.finished
	}
}

// lesson is what one answer says about people who are watched.
type lesson struct {
	at      time.Time
	size    int // at most so many people
	read    []heard
	changes []Change
	missed  []string
}

// learn applies one entry of an answer.
func (c *coalescer) learn(l *lesson, k userKey, p *Presence, refused bool) record {
	before, after, changed := c.cache.apply(k, p, l.at, refused)
	if c.share != nil {
		c.share.note(k, &before, &after)
	}
	if !after.watched {
		return after
	}
	if l.read == nil {
		l.read = make([]heard, 0, l.size)
	}
	l.read = append(l.read, heard{k, after.tier, after.entry})
	if changed && c.share != nil {
		// The change is one when all know of it.
		if before.known && before.covered && !before.words.sameState(&after.words) {
			l.missed = append(l.missed, k.String())
		}
	} else if changed {
		id := k.String()
		one := Change{ID: id, First: !before.known, After: c.cache.reading(id, &after, false)}
		if before.known {
			one.Before = c.cache.reading(id, &before, false)
		}
		l.changes = append(l.changes, one)
		if before.known && before.covered && !before.words.sameState(&after.words) {
			l.missed = append(l.missed, id)
		}
	}
	return after
}

// teach passes on what was learned, when all of it is in the cache.
func (c *coalescer) teach(l *lesson) {
	c.watch.read(l.read, l.at)
	if c.share != nil {
		c.share.tellSoon()
	}
	if len(l.changes) > 0 {
		c.tell(l.changes)
	}
	if len(l.missed) > 0 {
		c.miss(l.missed)
	}
}

// quarantine answers for an id that Graph refuses to answer for.
func (c *coalescer) quarantine(one *call, err *Error) {
	if c.claim([]*call{one}); !one.settling {
		return
	}
	c.stats.quarantined.Add(1)
	l := lesson{at: c.clk.Now(), size: 1}
	rec := c.learn(&l, one.key, unknownPresence(), true)
	c.teach(&l)
	if err.Kind == KindNotFound && rec.words.unknown() {
		rec = c.cache.mark(one.key)
	}
	if rec.strikes == 1 {
		c.log.Warn("Graph refuses the presence of one id; it is asked for less often",
			"id", one.key.String(), "status", err.Status, "code", err.Code, "request_id", err.RequestID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complete(one, rec, nil)
}

func unknownPresence() *Presence {
	return &Presence{Words: mapping.Presence{Availability: unknownWord, Activity: unknownWord}}
}
