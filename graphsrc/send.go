package graphsrc

import (
	"context"
	"math/rand/v2"
	"time"

	"ucwagate/graphsrc/budget"
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
	work := []attempt{{calls: batch}}
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
		case !a.retried && c.retry(err):
			work = append(work, attempt{calls: a.calls, retried: true})
		default:
			c.finish(a.calls, err)
		}
	}
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

// retry waits until a failed request may be repeated; false if it may not.
// A throttled one needs no wait of its own: the budget has closed the tap.
func (c *coalescer) retry(err *Error) bool {
	switch err.Kind {
	case KindThrottled:
		return true
	case KindUnavailable, KindMalformed:
		if err.RetryAfter > maxRetryPause {
			return false
		}
		return pause(c.life.ctx, c.clk, max(retryPause, err.RetryAfter)+rand.N(retryPause))
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
	ctx, cancel := context.WithDeadline(c.life.ctx, until)
	defer cancel()
	return c.permits.Acquire(ctx, ln)
}

// send asks Graph for the calls' presence and applies the answer.
func (c *coalescer) send(ln budget.Lane, calls []*call, permit *budget.Permit) *Error {
	defer permit.Return()
	ctx, cancel := context.WithTimeout(c.life.ctx, c.timeout)
	defer cancel()
	ctx = budget.WithPermit(budget.WithLane(ctx, ln), permit)

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
		c.settle(calls, answer)
	}
	return failed
}

// settle applies an answer. Entries are told apart by their id alone: they may
// come in any order, twice, in upper case, for people nobody asked for, or not
// at all. Somebody without an entry is PresenceUnknown, which is what Graph
// says of people it cannot see; an error would make a gap in a reply look like
// a fault of the caller.
func (c *coalescer) settle(calls []*call, answer []Presence) {
	now := c.clk.Now()
	found := make(map[userKey]record, len(calls))
	asked := make(map[userKey]struct{}, len(calls))
	for _, one := range calls {
		asked[one.key] = struct{}{}
	}
	for i := range answer {
		k, ok := parseKey(answer[i].ID)
		if _, mine := asked[k]; !ok || !mine {
			c.stats.foreign.Add(1)
			continue
		}
		found[k], _ = c.cache.apply(k, &answer[i], now, false)
	}
	for _, one := range calls {
		if _, ok := found[one.key]; !ok {
			c.stats.missing.Add(1)
			found[one.key], _ = c.cache.apply(one.key, unknownPresence(), now, false)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		c.complete(one, found[one.key], nil)
	}
}

// quarantine answers for an id that Graph refuses to answer for.
func (c *coalescer) quarantine(one *call, err *Error) {
	c.stats.quarantined.Add(1)
	rec, _ := c.cache.apply(one.key, unknownPresence(), c.clk.Now(), true)
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
