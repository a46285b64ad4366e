package units

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// ErrClosed is returned once the units are closed.
var ErrClosed = errors.New("resource units closed")

// ExhaustedError says that a request cannot leave before its caller's
// deadline. It unwraps to a *budget.ExhaustedError, so that who understands that
// one understands this one.
type ExhaustedError struct {
	// Cost is what the request would have cost.
	Cost Cost
	// Lane is the lane it waited in.
	Lane budget.Lane
	// RetryAfter is how long it would have had to wait, at least a millisecond.
	RetryAfter time.Duration
}

func (e *ExhaustedError) Error() string {
	if e.Cost.Mailbox != "" {
		return fmt.Sprintf("the mailbox has been asked too often: the next %s request may leave in %s", e.Cost.Kind, e.RetryAfter)
	}
	return fmt.Sprintf("resource units exhausted: no %d for %s before the deadline, they are due in %s", e.Cost.Units, e.Cost.Kind, e.RetryAfter)
}

func (e *ExhaustedError) Unwrap() error {
	return &budget.ExhaustedError{Lane: e.Lane, RetryAfter: e.RetryAfter}
}

// Options are what Units need. The zero value is right for a tenant of unknown
// size.
type Options struct {
	// Size is the tenant's; Small, the default, is enough for whatever a
	// budget of 1,500 requests in 30 s lets through.
	Size Size
	// Clock is clock.System if nil.
	Clock clock.Clock
	// Logger hears of throttling; nil discards.
	Logger *slog.Logger
	// Jitter returns a number from 0 to below 1, the part of a second by which
	// a pause is prolonged; nil takes a random one.
	Jitter func() float64
}

// headStart is how much earlier than a lane below it a lane is taken to have
// come: higher lanes go first, but nobody waits for ever.
const headStart = 2 * time.Second

// Units are the resource units of one application in one tenant. Methods may be
// called from any goroutine; none runs on its own.
type Units struct {
	clk       clock.Clock
	log       *slog.Logger
	jitter    func() float64
	mailboxes *mailboxes

	mu      sync.Mutex
	bucket  bucket
	waiting []*waiter // in the order in which they are served
	timer   clock.Timer
	closed  bool
	dearer  map[string]int // what kinds of requests cost above the table

	lastCut, lastSlow int64
	slowedAt          float64 // the share that the last slowing was for
	stats             Stats
}

type waiter struct {
	units    int64
	order    int64 // when it came, put off by its lane
	deadline int64
	lane     budget.Lane
	cost     Cost
	done     chan struct{}
	err      error
}

// New returns units of which none are there yet. Close them after use.
func New(o Options) *Units {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	u := &Units{
		clk: o.Clock, log: o.Logger, jitter: o.Jitter,
		bucket: newBucket(o.Size, o.Clock), dearer: make(map[string]int), lastCut: -1, lastSlow: -int64(Window),
	}
	u.mailboxes = newMailboxes(o.Clock)
	u.stats.Limit = o.Size.Limit()
	return u
}

// Close ends the units: whoever waits gets ErrClosed, and so does who comes
// later. Requests on their way are left alone.
func (u *Units) Close() {
	u.mailboxes.close()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, w := range u.waiting {
		w.err = ErrClosed
		close(w.done)
	}
	u.waiting = nil
	u.arm()
}

// acquire waits for the units of a request. What it returns is what the request
// is charged, and is sent or put back.
func (u *Units) acquire(ctx context.Context, cost Cost) (units int64, err error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return 0, fmt.Errorf("waiting for resource units: %w", ErrClosed)
	}
	u.bucket.settle()
	units = int64(cost.Units + u.dearer[cost.Kind])
	if len(u.waiting) == 0 && u.bucket.has(units) {
		u.bucket.grant(units)
		u.mu.Unlock()
		return units, nil
	}
	w, err := u.enqueue(ctx, cost, units)
	u.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if u.abandon(w) {
			return 0, fmt.Errorf("waiting for resource units: %w", ctx.Err())
		}
	}
	if w.err != nil {
		return 0, fmt.Errorf("waiting for resource units: %w", w.err)
	}
	return units, nil
}

func (u *Units) enqueue(ctx context.Context, cost Cost, units int64) (*waiter, error) {
	lane := budget.LaneOf(ctx)
	w := &waiter{
		units: units, order: u.bucket.now + int64(lane)*int64(headStart), deadline: math.MaxInt64,
		lane: lane, cost: cost, done: make(chan struct{}),
	}
	if deadline, ok := ctx.Deadline(); ok {
		w.deadline = u.bucket.after(deadline.Sub(u.bucket.read))
	}
	at, _ := slices.BinarySearchFunc(u.waiting, w, func(a, b *waiter) int {
		if a.order <= b.order {
			return -1 // of equals the newcomer is the last
		}
		return 1
	})
	ahead := units
	for _, other := range u.waiting[:at] {
		ahead += other.units
	}
	if due := u.bucket.eta(ahead); due >= w.deadline {
		return nil, w.hopeless(due - u.bucket.now)
	}
	u.waiting = slices.Insert(u.waiting, at, w)
	u.stats.Waited++
	u.dispatch()
	return w, nil
}

func (w *waiter) hopeless(wait int64) error {
	return &ExhaustedError{Cost: w.cost, Lane: w.lane, RetryAfter: max(time.Duration(wait), time.Millisecond)}
}

// abandon takes a waiter out whose caller has left; false if it has been served
// or refused meanwhile.
func (u *Units) abandon(w *waiter) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := slices.Index(u.waiting, w)
	if at < 0 {
		return false
	}
	u.waiting = slices.Delete(u.waiting, at, at+1)
	u.bucket.settle()
	u.dispatch()
	return true
}

// dispatch serves who waits as far as the units go. The bucket is settled.
func (u *Units) dispatch() {
	for len(u.waiting) > 0 && u.bucket.has(u.waiting[0].units) {
		w := u.waiting[0]
		u.waiting = u.waiting[1:]
		u.bucket.grant(w.units)
		close(w.done)
	}
	u.arm()
}

// arm sets the timer to when the next can be served. Where held units leave no
// room, the next send will call dispatch.
func (u *Units) arm() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if len(u.waiting) == 0 || u.waiting[0].units > u.bucket.capacity-u.bucket.held {
		return
	}
	u.timer = u.clk.AfterFunc(time.Duration(u.bucket.eta(u.waiting[0].units)-u.bucket.now), func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.bucket.settle()
		u.dispatch()
	})
}

// leave counts a request that leaves now, and returns when.
func (u *Units) leave(units int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bucket.settle()
	u.bucket.send(units)
	u.stats.Requests++
	u.stats.Spent += uint64(units)
	u.dispatch()
	return u.bucket.now
}

// putBack returns the units of a request that has not left.
func (u *Units) putBack(units int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bucket.settle()
	u.bucket.putBack(units)
	u.dispatch()
}

// repeated pays for a request that net/http has sent once more by itself.
func (u *Units) repeated(units int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bucket.settle()
	u.bucket.charge(units)
	u.stats.Spent += uint64(units)
	u.arm()
}

// Stats is a snapshot.
type Stats struct {
	// Limit is what the service admits in a Window.
	Limit int
	// Level is what is in the bucket; below zero while something is paid
	// afterwards. Held is what requests hold that have not left.
	Level float64
	Held  int
	// Rate is the present refill in units per second, PlanRate the planned one.
	Rate, PlanRate float64
	// PausedFor is how long nothing leaves; 0: it does.
	PausedFor time.Duration
	// Waiting is how many requests wait for units, Waited how many ever did.
	Waiting int
	Waited  uint64
	// Requests and Spent count what has left, and its units.
	Requests, Spent uint64
	// Undercharged counts the units beyond the table that the service charged.
	Undercharged uint64
	// Share is the part of the limit that the service last said was used; 0 if
	// it has not, which it does from 0.8 on. Slowed counts the slowings for it.
	Share  float64
	Slowed uint64
	// Throttled counts the throttling answers of the identity service,
	// MailboxesThrottled those of mailboxes.
	Throttled, MailboxesThrottled uint64
	// WorstWindow is the most units that ever left in any Window, InWindow what
	// has left in the one that ends now.
	WorstWindow, InWindow int
	// Mailboxes is how many mailboxes are remembered, MailboxWaiting how many
	// requests wait for one.
	Mailboxes, MailboxWaiting int
}

// Stats returns the present numbers.
func (u *Units) Stats() Stats {
	known, queued, throttled := u.mailboxes.count()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bucket.settle()
	s := u.stats
	s.Level, s.Held = float64(u.bucket.level)/unit, int(u.bucket.held)
	s.Rate, s.PlanRate = float64(u.bucket.rate)/1000, float64(u.bucket.plan)/1000
	s.PausedFor = time.Duration(max(u.bucket.pausedUntil-u.bucket.now, 0))
	s.Waiting = len(u.waiting)
	s.InWindow, s.WorstWindow = u.bucket.window.sum(u.bucket.now), u.bucket.window.worst
	s.Mailboxes, s.MailboxWaiting, s.MailboxesThrottled = known, queued, throttled
	return s
}
