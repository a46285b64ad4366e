package graphsrc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

const (
	// maxBatch is the most ids getPresencesByUserId takes.
	maxBatch = 650
	// maxInFlight is how many requests of one lane may be under way. It is
	// per lane, so that no lane waits for the answers of another.
	maxInFlight = 16
)

// Permits is the budget as seen from here. Acquire waits until one physical
// send in the lane is allowed, or returns *budget.ExhaustedError at once when
// that will not be before ctx's deadline.
type Permits interface {
	Acquire(ctx context.Context, lane budget.Lane) (*budget.Permit, error)
}

// coalescer turns many callers asking for few people each into few requests
// asking for many.
//
//	join ──▶ queue of the lane ──▶ run: window, slot, permit ──▶ drain ──▶ deliver
//
// The window is only for a lane that is busy: a lone caller leaves at once.
// Every id is in at most one place, a queue or a request under way, and whoever
// asks for it meanwhile shares its answer. Only what is said of a person by
// Publish makes the answer of a request under way worthless: see outdate.
type coalescer struct {
	graph   PresenceReader
	permits Permits
	clk     clock.Clock
	life    *lifetime
	log     *slog.Logger
	cache   *cache
	grant   *grant
	stats   *counters
	watch   *watchlist
	tell    func([]Change) // reports changes of watched people; not under mu

	window, timeout time.Duration

	mu     sync.Mutex
	calls  map[userKey]*call // queued or under way
	lanes  [budget.LaneCount]lane
	outage outage
}

// lane is one queue.
type lane struct {
	queue    []*call // may hold calls that have left: see live
	live     int     // calls of queue that still wait in it
	running  bool    // run is at work
	inFlight int
	lastJoin time.Time
	slots    chan struct{}
	stop     context.CancelFunc // ends run's waiting when nobody is left to wait for
}

// call is one id being asked for. Its fields are guarded by coalescer.mu.
type call struct {
	key      userKey
	lane     budget.Lane
	queued   bool
	settling bool // its answer is here and about to be applied
	finished bool
	next     *call // has taken over those who waited; see outdate
	waiters  []*waiter
	first    [1]*waiter // most calls have one: room for it
	rec      record     // once finished, if err is nil
	err      error
}

// waiter is one caller, for any number of ids.
type waiter struct {
	pending  int
	done     chan struct{} // closed at pending == 0
	deadline time.Time
}

func (c *coalescer) init() {
	c.calls = make(map[userKey]*call)
	for i := range c.lanes {
		c.lanes[i].slots = make(chan struct{}, maxInFlight)
	}
}

func (c *coalescer) enqueue(one *call, ln budget.Lane) {
	l := &c.lanes[ln]
	one.lane, one.queued = ln, true
	l.queue = append(l.queue, one)
	l.live++
}

// dequeue takes a call out of its lane; the queue's own entry goes when the
// queue is drained.
func (c *coalescer) dequeue(one *call) {
	l := &c.lanes[one.lane]
	one.queued = false
	l.live--
	if l.live == 0 {
		clear(l.queue)
		l.queue = l.queue[:0]
		if l.stop != nil {
			l.stop()
		}
	}
}

// wake sees to it that somebody empties the lane.
func (c *coalescer) wake(ln budget.Lane, now time.Time) {
	l := &c.lanes[ln]
	busy := l.inFlight > 0 || now.Sub(l.lastJoin) < c.window
	l.lastJoin = now
	if l.running {
		return
	}
	if !c.life.enter() {
		c.abandon(ln)
		return
	}
	l.running = true
	go c.run(ln, busy)
}

// run empties a lane, one request after the other, until nobody waits in it.
func (c *coalescer) run(ln budget.Lane, busy bool) {
	defer c.life.leave()
	l := &c.lanes[ln]
	for ; ; busy = true {
		c.mu.Lock()
		if c.life.ctx.Err() != nil {
			c.abandon(ln)
		}
		if l.live == 0 {
			l.running = false
			l.stop = nil
			c.mu.Unlock()
			return
		}
		ctx, stop := context.WithCancel(c.life.ctx)
		l.stop = stop
		collect := busy && l.live < maxBatch
		c.mu.Unlock()
		if !collect || pause(ctx, c.clk, c.window) {
			c.dispatch(ctx, ln)
		}
		stop()
	}
}

// dispatch waits for a slot and a permit, then drains the lane into a request.
func (c *coalescer) dispatch(ctx context.Context, ln budget.Lane) {
	l := &c.lanes[ln]
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	permit, err := c.admit(ctx, ln)
	if err != nil {
		<-l.slots
		return
	}
	batch := c.drain(ln)
	if len(batch) == 0 {
		permit.Return()
		<-l.slots
		return
	}
	c.life.fork()
	go func() {
		defer c.life.leave()
		c.deliver(ln, batch, permit)
		c.mu.Lock()
		l.inFlight--
		c.mu.Unlock()
		<-l.slots
	}()
}

// admit acquires a permit for those who wait in a lane. It bids with the
// earliest deadline among them; where the budget cannot meet it, those whom it
// cannot serve are told, and the others stay in the queue.
func (c *coalescer) admit(ctx context.Context, ln budget.Lane) (*budget.Permit, error) {
	c.mu.Lock()
	var earliest time.Time
	for _, one := range c.lanes[ln].queue {
		if !one.queued || one.lane != ln {
			continue
		}
		if d := latest(one); earliest.IsZero() || d.Before(earliest) {
			earliest = d
		}
	}
	c.mu.Unlock()
	bid, cancel := context.WithDeadline(ctx, earliest)
	defer cancel()
	permit, err := c.permits.Acquire(bid, ln)
	if err == nil || ctx.Err() != nil {
		return permit, err
	}
	hopeless := earliest
	var spent *budget.ExhaustedError
	if errors.As(err, &spent) {
		if t := c.clk.Now().Add(spent.RetryAfter); t.After(hopeless) {
			hopeless = t
		}
	}
	refused := asError("get presence", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.lanes[ln].queue {
		if one.queued && one.lane == ln && !latest(one).After(hopeless) {
			c.stats.refused.Add(1)
			one.queued = false
			c.lanes[ln].live--
			c.complete(one, record{}, refused)
		}
	}
	return nil, err
}

// latest is the deadline of whoever waits longest for a call: before it, the
// call is worth sending.
func latest(one *call) time.Time {
	var t time.Time
	for _, w := range one.waiters {
		if w.deadline.After(t) {
			t = w.deadline
		}
	}
	return t
}

// drain takes up to maxBatch calls: the lane's own, then others that ride
// along for free.
func (c *coalescer) drain(ln budget.Lane) []*call {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch := c.take(nil, ln)
	if len(batch) == 0 {
		return nil
	}
	for other := range c.lanes {
		if budget.Lane(other) != ln {
			batch = c.take(batch, budget.Lane(other))
		}
	}
	c.lanes[ln].inFlight++
	return batch
}

func (c *coalescer) take(batch []*call, ln budget.Lane) []*call {
	l := &c.lanes[ln]
	if batch == nil {
		batch = make([]*call, 0, min(l.live, maxBatch))
	}
	i := 0
	for ; i < len(l.queue) && len(batch) < maxBatch; i++ {
		one := l.queue[i]
		if one.queued && one.lane == ln {
			one.queued = false
			l.live--
			batch = append(batch, one)
		}
	}
	if l.live == 0 {
		clear(l.queue)
		l.queue = l.queue[:0]
		if l.stop != nil {
			l.stop()
		}
		return batch
	}
	rest := copy(l.queue, l.queue[i:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	return batch
}

// abandon ends all calls of a lane when the source closes. The caller holds mu.
func (c *coalescer) abandon(ln budget.Lane) {
	for c.lanes[ln].live > 0 {
		for _, one := range c.take(nil, ln) {
			c.complete(one, record{}, errClosed)
		}
	}
}

// finish ends calls that share an error.
func (c *coalescer) finish(calls []*call, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		c.complete(one, record{}, err)
	}
}

// complete hands an outcome to all who wait for a call. The caller holds mu.
func (c *coalescer) complete(one *call, rec record, err error) {
	if one.finished {
		return
	}
	one.finished, one.rec, one.err = true, rec, err
	if c.calls[one.key] == one {
		delete(c.calls, one.key)
	}
	for _, w := range one.waiters {
		if w.pending--; w.pending == 0 {
			close(w.done)
		}
	}
	one.waiters = nil
}
