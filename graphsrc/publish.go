package graphsrc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
	"ucwagate/mapping"
)

// Publish performs one action of a user's presence resource, in the publish
// lane of the budget. lasts is the expiration of a set…Presence action; zero
// leaves it to Graph. A failure that may pass is followed by one repetition,
// all within Options.Timeout. id is an object id. Where the permission is
// missing the error is KindForbidden, for some time without asking (ErrHidden).
// Errors are *Error.
//
// When it returns nil, what was known of the user is no longer fresh, neither
// is what Graph answers to questions asked before, and somebody who is watched
// is about to be read again. It waits for a Change of the same person that is
// just being reported, so it must not be called from there. Calls for one user
// are not put in an order.
func (s *Source) Publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	k, ok := parseKey(id)
	if !ok {
		return invalidID(publishOp, id)
	}
	if err := s.publisher.publish(ctx, k.String(), action, lasts); err != nil {
		return err
	}
	s.coalescer.outdate(k)
	if s.watch.urge(k, s.clk.Now()) {
		s.looker.wake()
	}
	return nil
}

// MayPublish reports whether Publish can succeed, as far as is known without
// asking: it is false while the application's token does not carry
// PublishPermission, and for some time after Graph has refused an action. It
// does not block.
func (s *Source) MayPublish() bool { return s.grants.publish.open() }

const publishOp = "publish presence"

// publisher sends what users say about themselves.
type publisher struct {
	graph   Publisher
	clk     clock.Clock
	life    *lifetime
	log     *slog.Logger
	grant   *grant
	timeout time.Duration
	refused chan struct{} // tells run of a 403

	mu     sync.Mutex
	outage outage // of its own: presence may be readable while it cannot be set
}

func newPublisher(o *Options, life *lifetime, g *grant) *publisher {
	return &publisher{
		graph: o.Graph, clk: o.Clock, life: life, log: o.Logger, grant: g, timeout: o.Timeout,
		refused: make(chan struct{}, 1),
	}
}

func (p *publisher) publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	closed := &Error{Op: publishOp, Kind: KindUnavailable, Err: errClosed}
	if !p.life.enter() {
		return closed
	}
	defer p.life.leave()
	ctx, cancel := context.WithTimeout(budget.WithLane(ctx, budget.Publish), p.timeout)
	defer cancel()
	defer context.AfterFunc(p.life.ctx, cancel)()
	for repeated := false; ; repeated = true {
		err := p.send(ctx, id, action, lasts)
		switch {
		case err == nil:
			return nil
		case p.life.ctx.Err() != nil:
			return closed
		case repeated || !mayRepeat(ctx, p.clk, err):
			return err
		}
	}
}

// send asks Graph once, unless it is known to be down or to refuse.
func (p *publisher) send(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) *Error {
	if err := p.grant.check(); err != nil {
		return asError(publishOp, err)
	}
	p.mu.Lock()
	down := p.outage.err(p.clk.Now())
	p.mu.Unlock()
	if down != nil {
		return asError(publishOp, down)
	}
	err := p.graph.Publish(ctx, id, action, lasts)
	var failed *Error
	if err != nil {
		failed = asError(publishOp, err)
	}
	p.mu.Lock()
	p.outage.observe(failed, p.clk.Now())
	p.mu.Unlock()
	p.grant.observe(failed)
	if failed != nil && failed.Kind == KindForbidden {
		select {
		case p.refused <- struct{}{}:
		default:
		}
	}
	return failed
}

// run finds out from the token whether publishing is permitted: once, and again
// as long as it is not.
func (p *publisher) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		var wait time.Duration
		if err := p.look(ctx); err != nil {
			wait = min(minSyncPause<<min(failures, 10), maxSyncPause)
			failures++
			p.log.Debug("the permissions of the application could not be read", "error", err, "retry_in", wait)
		} else {
			failures = 0
			wait = p.grant.hiddenFor()
		}
		if wait > 0 {
			clock.Wait(ctx, p.clk, wait)
			continue
		}
		select {
		case <-p.refused:
			clock.Wait(ctx, p.clk, p.grant.hiddenFor())
		case <-ctx.Done():
		}
	}
}

// look reads the permissions once. A token that does not tell leaves it to the
// first action.
func (p *publisher) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(budget.WithLane(ctx, budget.Publish), p.timeout)
	defer cancel()
	permissions, err := p.graph.Permissions(ctx)
	if err != nil {
		return err
	}
	if permissions != nil {
		p.grant.carried(slices.Contains(permissions, PublishPermission))
	}
	return nil
}

// outdate makes what is known of a person, and what a request under way will
// say of them, no longer count as fresh. Whoever waits for that request waits
// for another one instead, which leaves after this; the answer of the first is
// not applied for the person.
//
// An answer that is being applied at this moment is waited for: were the next
// one asked for already, two of them could be reported in the wrong order.
func (c *coalescer) outdate(k userKey) { c.discard(k, true) }

// discard is outdate for what a request under way will say, and for what is known
// if expire is set.
func (c *coalescer) discard(k userKey, expire bool) {
	one := c.lockSettled(k)
	defer c.mu.Unlock()
	if one != nil && !one.queued {
		c.supersede(one)
	}
	if expire {
		c.cache.expire(k, c.clk.Now())
	}
}

// lockSettled waits until no answer about a person is about to be applied, and
// returns with mu held: the call for the person, nil if there is none.
func (c *coalescer) lockSettled(k userKey) *call {
	for {
		c.mu.Lock()
		one := c.calls[k]
		if one == nil || !one.settling {
			return one
		}
		w := &waiter{pending: 1, done: make(chan struct{}), settling: true}
		one.waiters = append(one.waiters, asker{waiter: w})
		c.mu.Unlock()
		<-w.done
	}
}

// supersede discards a call that is under way; those who wait for it wait for
// another in the same lane. The caller holds mu.
func (c *coalescer) supersede(one *call) {
	one.finished = true
	delete(c.calls, one.key)
	if len(one.waiters) == 0 {
		return
	}
	next := &call{key: one.key, waiters: one.waiters}
	one.waiters, one.next = nil, next
	c.calls[one.key] = next
	c.enqueue(next, one.lane)
	c.wake(one.lane)
}

// current is the call that those who joined a call wait for. The caller holds mu.
func (one *call) current() *call {
	for one.next != nil {
		one = one.next
	}
	return one
}
