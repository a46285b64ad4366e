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

// presenceClient begins the names under which presence requests wait for the
// budget. A lane bids for a batch in the name of the client whose turn is the
// next, so that a batch waits behind other batches of that client and not behind
// anything else it may be waiting for.
const presenceClient = "presence\x00"

// coalescer turns many callers asking for few people each into few requests
// asking for many.
//
//	join ──▶ queue of the lane ──▶ run: gather, slot, permit ──▶ drain ──▶ deliver
//
// A queue serves the clients of a lane in turns, an id of each (see fair), so one
// who asks for everybody does not delay one who asks for somebody. An id that
// several wait for goes with the first whose turn comes.
//
// A request leaves at once if the one before it in the lane left long enough ago;
// otherwise ids gather until then: see spacing. Every id is in at most one place,
// a queue or a request under way, and whoever asks for it meanwhile shares its
// answer. Only what is said of a person by Publish makes the answer of a request
// under way worthless: see outdate.
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
	tell    func([]Change)     // reports changes of watched people; not under mu
	share   *sharing           // nil unless there are other sources
	miss    func(ids []string) // reports changes that should have been notified; not under mu

	window, timeout time.Duration

	mu     sync.Mutex
	calls  map[userKey]*call // queued or under way
	crowd  int               // the most there were in it
	lanes  [budget.LaneCount]lane
	outage outage
}

// lane is one queue.
type lane struct {
	queue   fair[*call]
	live    int           // calls in it
	soonest time.Time     // no waiter's deadline is before it; zero if there is none
	look    chan struct{} // has an element if there is less reason to gather than before
	running bool          // run is at work
	left    time.Time     // when the last request did
	since   time.Time     // since when those in it wait, apart from whom a request had no room for
	slots   chan struct{}
	stop    context.CancelFunc // ends run's waiting when nobody is left to wait for
}

// call is one id being asked for. Its fields are guarded by coalescer.mu.
type call struct {
	key      userKey
	lane     budget.Lane
	queued   bool
	settling bool // its answer is here and about to be applied
	finished bool
	next     *call // has taken over those who waited; see outdate
	waiters  []asker
	first    [1]asker // most calls have one: room for it
	rec      record   // once finished, if err is nil
	err      error
	own      seat[*call] // room for one seat
}

// asker is a waiter and, while the call is queued, the place that it keeps for
// the call in the name of its client. Waiters of a lower lane than the call is
// in keep none: they are served because somebody else is.
type asker struct {
	*waiter
	seat *seat[*call]
}

// waiter is one caller, for any number of ids.
type waiter struct {
	pending  int
	done     chan struct{} // closed at pending == 0
	deadline time.Time
	client   string
	lane     budget.Lane // the one asked in
	settling bool        // waits for no answer, only for one not to be about to be applied
}

func (c *coalescer) init() {
	c.calls = make(map[userKey]*call)
	for i := range c.lanes {
		c.lanes[i].slots = make(chan struct{}, maxInFlight)
		c.lanes[i].look = make(chan struct{}, 1)
	}
}

// enqueue puts a call into a lane, for those who wait for it.
func (c *coalescer) enqueue(one *call, ln budget.Lane) {
	l := &c.lanes[ln]
	one.lane, one.queued = ln, true
	if l.live++; l.live == 1 {
		l.since = c.clk.Now()
	}
	for i := range one.waiters {
		c.sit(one, i)
	}
	c.keepSeat(one)
	if l.live == maxBatch || l.live == 2*maxBatch {
		l.lookAgain()
	}
}

// lookAgain ends the gathering, or shows how much less of it there may be.
func (l *lane) lookAgain() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// sit gives a queued call's ith waiter its seat, if it is to have one.
func (c *coalescer) sit(one *call, i int) {
	l, w := &c.lanes[one.lane], &one.waiters[i]
	if l.soonest.IsZero() || !w.deadline.IsZero() && w.deadline.Before(l.soonest) {
		l.soonest = w.deadline
		l.lookAgain()
	}
	if w.lane <= one.lane {
		c.seat(one, w)
	}
}

func (c *coalescer) seat(one *call, w *asker) {
	w.seat = &one.own
	if one.own.party != nil {
		w.seat = new(seat[*call])
	}
	c.lanes[one.lane].queue.push(w.client, w.seat, one)
}

// keepSeat seats everybody who waits for a queued call if nobody does who asked
// in its lane.
func (c *coalescer) keepSeat(one *call) {
	for i := range one.waiters {
		if one.waiters[i].seat != nil {
			return
		}
	}
	for i := range one.waiters {
		c.seat(one, &one.waiters[i])
	}
}

// dequeue takes a call out of its lane.
func (c *coalescer) dequeue(one *call) {
	l := &c.lanes[one.lane]
	one.queued = false
	for i := range one.waiters {
		if s := one.waiters[i].seat; s != nil {
			l.queue.leave(s)
			one.waiters[i].seat = nil
		}
	}
	l.live--
	if l.live == 0 {
		l.soonest = time.Time{}
		if l.stop != nil {
			l.stop()
		}
	}
}

// wake sees to it that somebody empties the lane.
func (c *coalescer) wake(ln budget.Lane) {
	l := &c.lanes[ln]
	if l.running {
		return
	}
	if !c.life.enter() {
		c.abandon(ln)
		return
	}
	l.running = true
	go c.run(ln)
}

// run empties a lane, one request after the other, until nobody waits in it.
func (c *coalescer) run(ln budget.Lane) {
	defer c.life.leave()
	l := &c.lanes[ln]
	for {
		pace := c.pace()
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
		wait := c.gathering(ln, pace)
		select {
		case <-l.look: // is what happens here
		default:
		}
		c.mu.Unlock()
		if wait <= 0 || c.gather(ctx, l, wait) {
			c.dispatch(ctx, ln)
		}
		stop()
	}
}

// gather waits for d and reports whether it has passed: false if nobody waits any
// more, or if it is to be found out how much longer to wait.
func (c *coalescer) gather(ctx context.Context, l *lane, d time.Duration) bool {
	passed := make(chan struct{})
	t := c.clk.AfterFunc(d, func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
		return true
	case <-l.look:
		return false
	case <-ctx.Done():
		return false
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
		<-l.slots
	}()
}

// admit acquires a permit for those who wait in a lane. It bids with the
// earliest deadline among them; where the budget cannot meet it, those whom it
// cannot serve are told, and it bids again for the others.
func (c *coalescer) admit(ctx context.Context, ln budget.Lane) (*budget.Permit, error) {
	l := &c.lanes[ln]
	for {
		c.mu.Lock()
		soonest, client := l.soonest, l.queue.whose()
		c.mu.Unlock()
		permit, err := c.bid(ctx, ln, client, soonest)
		if err == nil || ctx.Err() != nil {
			return permit, err
		}
		if !c.refuse(ln, soonest, err) {
			return nil, err
		}
	}
}

func (c *coalescer) bid(ctx context.Context, ln budget.Lane, client string, until time.Time) (*budget.Permit, error) {
	ctx = budget.WithClient(ctx, presenceClient+client)
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	return c.permits.Acquire(ctx, ln)
}

// refuse tells those whom a failed bid shows that they cannot be served, and
// looks anew for the earliest deadline. It reports whether somebody is left.
func (c *coalescer) refuse(ln budget.Lane, bid time.Time, err error) bool {
	hopeless := bid
	var spent *budget.ExhaustedError
	exhausted := errors.As(err, &spent)
	if exhausted {
		if t := c.clk.Now().Add(spent.RetryAfter); t.After(hopeless) {
			hopeless = t
		}
	}
	// Any other failure than a want of time will not pass.
	all := !exhausted && !errors.Is(err, context.DeadlineExceeded)
	refused := asError("get presence", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.lanes[ln]
	var soonest time.Time
	for _, one := range l.queue.all() {
		if !one.queued {
			continue // refused, seen on another seat
		}
		until := latest(one)
		if all || !until.After(hopeless) {
			c.stats.refused.Add(1)
			c.dequeue(one)
			c.complete(one, record{}, refused)
		} else if soonest.IsZero() || until.Before(soonest) {
			soonest = until
		}
	}
	l.soonest = soonest
	return l.live > 0
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
	c.lanes[ln].left = c.clk.Now()
	return batch
}

// take adds calls of a lane to a batch, in turns over the clients.
func (c *coalescer) take(batch []*call, ln budget.Lane) []*call {
	l := &c.lanes[ln]
	l.since = c.clk.Now()
	if batch == nil {
		batch = make([]*call, 0, min(l.live, maxBatch))
	}
	for l.live > 0 && len(batch) < maxBatch {
		one := l.queue.turn()
		c.dequeue(one)
		batch = append(batch, one)
	}
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
		if len(c.calls) == 0 && c.crowd > 16*maxBatch {
			// A map keeps the room it once took, and is slower for it.
			c.calls, c.crowd = make(map[userKey]*call), 0
		}
	}
	for _, w := range one.waiters {
		if w.pending--; w.pending == 0 {
			close(w.done)
		}
	}
	one.waiters = nil
}
