package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// ErrClosed is returned once the budget is closed.
var ErrClosed = errors.New("budget closed")

// ExhaustedError says that a token cannot come before the caller's deadline.
type ExhaustedError struct {
	Lane Lane
	// RetryAfter is how long, by the queue and the pause of that moment, the
	// caller would have had to wait; at least a millisecond.
	RetryAfter time.Duration
}

func exhausted(lane Lane, wait int64) *ExhaustedError {
	return &ExhaustedError{Lane: lane, RetryAfter: max(time.Duration(wait), time.Millisecond)}
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("budget exhausted: no token for the %s lane before the deadline, one is due in %s", e.Lane, e.RetryAfter)
}

// Options are what a Budget needs. The zero value is a budget of DefaultPlan on
// the system's clock.
type Options struct {
	// Plan is DefaultPlan if it is the zero Plan.
	Plan Plan
	// Clock is clock.System if nil.
	Clock clock.Clock
	// Logger hears of throttling; nil discards.
	Logger *slog.Logger
	// Jitter returns a number from 0 to below 1, the share of maxJitter that a
	// pause is prolonged by; nil takes a random one.
	Jitter func() float64
	// OnSend is called after each send of Transport with the answer's status, or
	// 0 and the error if there was none. It runs on the sender's goroutine,
	// which waits for it, and may be called concurrently.
	OnSend func(lane Lane, status int, err error)
	// Lessor is the bucket that this budget shares with those of other replicas;
	// nil gives it one of its own.
	Lessor Lessor
}

// Budget hands out the right to send. Its methods may be called from any
// goroutine. It runs none of its own: whoever acquires, returns or sends moves
// the queue on, and a single timer wakes it for the next token somebody waits for.
// With a Lessor there is one more goroutine while it is asked, and one more timer.
type Budget struct {
	plan   Plan
	clock  clock.Clock
	log    *slog.Logger
	jitter func() float64
	onSend func(lane Lane, status int, err error)

	mu     sync.Mutex
	time   timeline
	bucket bucket
	window window
	order  order            // how many wait, and which lane's turn it is
	queues [LaneCount]turns // who waits, and which client's turn it is in the lane
	held   permits          // granted and not yet sent, oldest first
	closed bool

	timer   clock.Timer // nil if nobody waits
	wakeAt  int64       // when timer fires
	wakeSeq uint64      // tells the timer that is due from one stopped too late

	sharing *sharing // nil without a Lessor

	lastCut   int64 // when the rate was last halved
	sent      [LaneCount]uint64
	resent    uint64
	throttled uint64
}

// New returns a budget that starts empty. Close it after use.
func New(o Options) (*Budget, error) {
	if o.Plan == (Plan{}) {
		o.Plan = DefaultPlan()
	}
	if err := o.Plan.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	b := &Budget{
		plan: o.Plan, clock: o.Clock, log: o.Logger, jitter: o.Jitter, onSend: o.OnSend,
		time:    timeline{clock: o.Clock, seen: o.Clock.Now()},
		bucket:  newBucket(o.Plan, 0),
		window:  window{span: int64(o.Plan.Window)},
		wakeAt:  never,
		lastCut: -1,
	}
	if o.Lessor == nil {
		return b, nil
	}
	if err := o.Lessor.Terms().Validate(); err != nil {
		return nil, err
	}
	b.sharing = newSharing(b, o.Lessor)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sharing.plan(b.settle())
	return b, nil
}

// Close ends the budget: waiters get ErrClosed, permits become void, and nothing
// is sent any more. Requests on their way are left alone. A successor created
// afterwards starts empty and keeps the plan together with what was sent here.
// With a Lessor, Close says goodbye to it, which takes at most the time-out of an
// ask.
func (b *Budget) Close() {
	unsent, closed := b.shutDown()
	if closed && b.sharing != nil {
		b.sharing.leave(unsent)
	}
}

// shutDown closes the budget and returns how many leased tokens were not sent. It
// reports false if the budget was closed already.
func (b *Budget) shutDown() (unsent int64, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, false
	}
	now := b.time.ns
	if b.sharing != nil {
		if now = b.settle(); b.sharing.state == Shared {
			unsent = b.bucket.level/unit + b.bucket.held
		}
	}
	b.closed = true
	b.dropHeld()
	for lane := range b.queues {
		for b.queues[lane].waiting > 0 {
			b.refuse(b.queues[lane].first(), fmt.Errorf("waiting for a token of the %s lane: %w", Lane(lane), ErrClosed))
		}
	}
	b.arm(now)
	return unsent, true
}

// Acquire waits for the right to one send, in turns with the other clients (see
// WithClient) of the lane. The permit is spent by Transport
// (see WithPermit) or given back by Return; kept longer than a few seconds, or
// into a pause, it becomes void and Transport acquires anew.
//
// Acquire fails at once with an *ExhaustedError if, by the present queue, the
// token cannot come before the deadline of ctx, and later if a pause makes that
// certain. If ctx ends first its error is wrapped; after Close it is ErrClosed.
func (b *Budget) Acquire(ctx context.Context, lane Lane) (*Permit, error) {
	if lane >= LaneCount {
		return nil, fmt.Errorf("acquiring a token: there is no %s", lane)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("acquiring a token of the %s lane: %w", lane, err)
	}
	p := &Permit{budget: b, lane: lane}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, fmt.Errorf("acquiring a token of the %s lane: %w", lane, ErrClosed)
	}
	now := b.settle()
	p.asked = now
	if b.order.empty() && b.bucket.has(1+b.kept(lane)) {
		b.grant(p, now)
		if b.sharing != nil {
			b.sharing.plan(now)
		}
		b.mu.Unlock()
		return p, nil
	}
	err := b.enqueue(ctx, p, now)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}

	select {
	case <-p.ready:
		if p.err != nil {
			return nil, p.err
		}
		return p, nil
	case <-ctx.Done():
		b.abandon(p)
		return nil, fmt.Errorf("waiting for a token of the %s lane: %w", lane, ctx.Err())
	}
}

// enqueue puts p at the end of what its client waits for in the lane, unless its
// caller's deadline is hopeless, and serves whom it can.
func (b *Budget) enqueue(ctx context.Context, p *Permit, now int64) error {
	p.deadline = never
	client := ClientOf(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		p.deadline = b.time.at(deadline)
		if at := b.forecast(p.lane, client, p.deadline); at >= p.deadline {
			return exhausted(p.lane, at-now)
		}
	}
	p.ready = make(chan struct{})
	b.queues[p.lane].push(p, client)
	b.order.waiting[p.lane]++
	b.dispatch(now)
	return nil
}

// forecast returns when a newcomer of a client gets its token in lane if nobody
// comes or goes, or an upper bound of that if it lies before the deadline.
func (b *Budget) forecast(lane Lane, client string, deadline int64) int64 {
	if at := b.eta(int64(b.order.total()) + 1 + b.reserve(lane)); at < deadline {
		return at // even behind everybody: no need to look closer
	}
	o := b.order
	o.waiting[lane] = b.queues[lane].rank(client) // those behind it make no difference
	grants, byShare := o.grantsUntil(lane)
	tokens := int64(grants)
	if !byShare {
		tokens += b.reserve(lane)
	}
	return b.eta(tokens)
}

// eta is bucket.eta of the bucket that the tokens come from.
func (b *Budget) eta(tokens int64) int64 {
	if b.sharing != nil && b.sharing.state != Fallback {
		return b.sharing.eta(tokens)
	}
	return b.bucket.eta(tokens)
}

// abandon takes p out of the queue after its caller gave up. A grant that came
// just before is returned.
func (b *Budget) abandon(p *Permit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	switch p.state {
	case permitWaiting:
		b.leave(p)
		p.state = permitOver
	case permitHeld:
		b.giveBack(p)
	default:
		return
	}
	b.dispatch(now)
}

// spend charges one send to a held permit. It reports false if the permit is
// not, or no longer, good for one.
func (b *Budget) spend(p *Permit) (at int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	if p.budget != b || p.state != permitHeld {
		return 0, false
	}
	b.held.remove(p)
	p.state = permitOver
	b.bucket.held--
	b.window.add(now)
	b.sent[p.lane]++
	b.dispatch(now) // a held permit less is room for a token more
	return now, true
}

// charge pays for a send that happened without asking.
func (b *Budget) charge(lane Lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	if b.sharing != nil {
		b.sharing.charge()
	} else {
		b.bucket.level -= unit
	}
	b.window.add(now)
	b.sent[lane]++
	b.resent++
	b.arm(now)
}

// settle brings the bucket to the present. Everything that looks at tokens or
// permits does this first.
func (b *Budget) settle() int64 {
	now := b.time.now()
	if b.sharing != nil {
		b.sharing.settle(now)
	} else {
		b.bucket.refill(now)
	}
	for p := b.held.head; p != nil && now-p.granted >= int64(permitLife); p = b.held.head {
		b.giveBack(p)
	}
	return now
}

// reserve is the number of tokens that lane leaves for others.
func (b *Budget) reserve(lane Lane) int64 {
	switch {
	case lane != Refresh:
		return 0
	case b.sharing != nil:
		return b.sharing.reserve()
	}
	return b.bucket.capacity / 10
}

// kept is what of the reserve must be in this bucket: all of it, unless there is
// one that is shared.
func (b *Budget) kept(lane Lane) int64 {
	switch {
	case lane != Refresh:
		return 0
	case b.sharing != nil:
		return b.sharing.kept()
	}
	return b.bucket.capacity / 10
}

// nextGrant returns the lane whose turn it is, and how many tokens must be in
// the bucket for its grant. Somebody must wait.
func (b *Budget) nextGrant() (lane Lane, tokens int64) {
	lane, byShare := b.order.next()
	if byShare {
		return lane, 1
	}
	return lane, 1 + b.kept(lane)
}

// dispatch serves waiters as far as the tokens go, and sets the timer for the
// next one.
func (b *Budget) dispatch(now int64) {
	for !b.order.empty() {
		lane, tokens := b.nextGrant()
		if !b.bucket.has(tokens) {
			break
		}
		b.order.take()
		p := b.queues[lane].pop()
		b.grant(p, now)
		close(p.ready)
	}
	b.arm(now)
}

// arm sets the one timer to when the next waiter can be served.
func (b *Budget) arm(now int64) {
	at := int64(never)
	if b.sharing != nil {
		b.sharing.plan(now)
	}
	if !b.order.empty() && (b.sharing == nil || b.sharing.state == Fallback) {
		_, tokens := b.nextGrant()
		at = b.bucket.eta(tokens)
		if tokens > b.bucket.capacity-b.bucket.held {
			// Held permits leave no room for these tokens. A send or a return
			// will move the queue on; failing that, the oldest expires.
			at = b.held.head.granted + int64(permitLife)
		}
	}
	if at == b.wakeAt {
		return
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	b.wakeAt = at
	b.wakeSeq++
	if at != never {
		seq := b.wakeSeq
		b.timer = b.clock.AfterFunc(time.Duration(at-now), func() { b.wake(seq) })
	}
}

// wake is what the timer calls.
func (b *Budget) wake(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq != b.wakeSeq {
		return // set anew, or stopped, while this call was on its way
	}
	b.timer, b.wakeAt = nil, never
	b.dispatch(b.settle())
}

func (b *Budget) grant(p *Permit, now int64) {
	p.state, p.granted = permitHeld, now
	b.bucket.grant()
	b.held.push(p)
}

// giveBack puts a held permit's token back into the bucket.
func (b *Budget) giveBack(p *Permit) {
	b.held.remove(p)
	p.state = permitOver
	b.bucket.putBack()
}

// dropHeld makes all held permits void, their tokens included.
func (b *Budget) dropHeld() {
	for p := b.held.head; p != nil; p = b.held.head {
		b.held.remove(p)
		p.state = permitOver
		b.bucket.held--
	}
}

// leave takes a waiter out of its queue.
func (b *Budget) leave(p *Permit) {
	b.queues[p.lane].drop(p)
	b.order.waiting[p.lane]--
}

// refuse ends a wait with an error.
func (b *Budget) refuse(p *Permit, err error) {
	b.leave(p)
	p.state, p.err = permitRefused, err
	close(p.ready)
}
