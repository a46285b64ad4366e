package graphsrc

import (
	"context"
	"time"

	"ucwagate/graphsrc/budget"
)

// outcome is what became of one id.
type outcome struct {
	rec record
	err error
}

// ask returns an outcome for every key, in order, once all are there or ctx is
// done; then what is not there has ctx's error. Keys are distinct. A deadline
// later than the coalescer's time-out, or none, is brought forward to it.
func (c *coalescer) ask(ctx context.Context, ln budget.Lane, keys []userKey) []outcome {
	out := make([]outcome, len(keys))
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	calls, err := c.await(ctx, ln, keys)
	if err != nil {
		for i := range out {
			out[i].err = err
		}
		return out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, one := range calls {
		if one = one.current(); one.finished {
			out[i] = outcome{rec: one.rec, err: one.err}
		} else {
			out[i].err = ctx.Err()
		}
	}
	return out
}

// renew asks for people whatever the cache holds, and waits until they are
// read or have failed, at most for within. What was read is in the cache; the
// error is that of one of the failures, or nil.
func (c *coalescer) renew(ctx context.Context, ln budget.Lane, keys []userKey, within time.Duration) *Error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	calls, err := c.await(ctx, ln, keys)
	if err != nil {
		return asError("refresh presence", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		if one = one.current(); !one.finished {
			return asError("refresh presence", ctx.Err())
		}
		if one.err != nil {
			return asError("refresh presence", one.err)
		}
	}
	return nil
}

// await joins the queue of a lane for every key and returns the calls when all
// are finished or ctx is done.
func (c *coalescer) await(ctx context.Context, ln budget.Lane, keys []userKey) ([]*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &waiter{done: make(chan struct{})}
	w.deadline, _ = ctx.Deadline()
	w.client = budget.ClientOf(ctx)
	calls, err := c.join(w, ln, keys)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		c.leave(w, calls)
	}
	return calls, nil
}

// join enters a waiter for every key. It fails without waiting while Graph is
// known to be down or to refuse.
func (c *coalescer) join(w *waiter, ln budget.Lane, keys []userKey) ([]*call, error) {
	if err := c.grant.check(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clk.Now()
	if c.life.ctx.Err() != nil {
		return nil, errClosed
	}
	if err := c.outage.err(now); err != nil {
		return nil, err
	}
	calls := make([]*call, len(keys))
	w.pending, w.lane = len(keys), ln
	queued := 0
	var block []call // one allocation for all who are not asked for already
	for i, k := range keys {
		one := c.calls[k]
		switch {
		case one == nil:
			if len(block) == 0 {
				block = make([]call, min(len(keys)-i, maxBatch))
			}
			one, block = &block[0], block[1:]
			one.key = k
			one.waiters = append(one.first[:0], asker{waiter: w})
			c.calls[k] = one
			c.enqueue(one, ln)
			queued++
		case one.queued && ln < one.lane:
			// Somebody in more of a hurry takes it along to their lane.
			c.dequeue(one)
			one.waiters = append(one.waiters, asker{waiter: w})
			c.enqueue(one, ln)
			queued++
		default:
			one.waiters = append(one.waiters, asker{waiter: w})
			if one.queued {
				c.sit(one, len(one.waiters)-1)
			}
		}
		calls[i] = one
	}
	c.crowd = max(c.crowd, len(c.calls))
	if queued > 0 {
		c.wake(ln)
	}
	return calls, nil
}

// leave withdraws a waiter; calls in a queue for which nobody waits any more
// leave with it and never cost a token.
func (c *coalescer) leave(w *waiter, calls []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		if one = one.current(); one.finished {
			continue
		}
		c.forgo(w, one)
		if len(one.waiters) == 0 && one.queued {
			c.dequeue(one)
			delete(c.calls, one.key)
			one.finished, one.err = true, context.Canceled
		}
	}
}

// forgo takes a waiter away from a call.
func (c *coalescer) forgo(w *waiter, one *call) {
	for i := range one.waiters {
		if one.waiters[i].waiter != w {
			continue
		}
		if s := one.waiters[i].seat; s != nil {
			c.lanes[one.lane].queue.leave(s)
		}
		last := len(one.waiters) - 1
		one.waiters[i] = one.waiters[last]
		one.waiters[last] = asker{}
		one.waiters = one.waiters[:last]
		if one.queued {
			c.keepSeat(one)
		}
		return
	}
}
