package redisclock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/clock"
)

const (
	// every is the time between two looks at Redis' clock, soon that before the
	// first that succeeds.
	every, soon = 5 * time.Second, 100 * time.Millisecond
	// believed is after how many looks a replica knows the common time well enough
	// to defend it: those that were there before have noticed by then if Redis'
	// clock has moved.
	believed = 3
	// slow is how long a trip may take for its answer to be of use once the time is
	// known.
	slow = time.Second
	// noticed is how far the common time must move, or the replica's clock be from
	// Redis', to be worth a warning.
	noticed = 5 * time.Second
	// life is how long Redis keeps the shift of a gateway that is gone.
	life = 7 * 24 * time.Hour
)

// Options are what New needs.
type Options struct {
	// Client reaches Redis. The clock does not close it.
	Client rueidis.Client
	// Prefix begins the key (default "ucwagate"). Replicas of one gateway share it.
	Prefix string
	Clock  clock.Clock  // the replica's own
	Logger *slog.Logger // nil logs nothing
	// Timeout is the longest that one trip to Redis may take, in real time
	// (default 2 s).
	Timeout time.Duration
}

// Clock tells the common time. Its timers are those of the replica's own clock.
// It is safe for concurrent use.
type Clock struct {
	client  rueidis.Client
	own     clock.Clock
	log     *slog.Logger
	key     string
	timeout time.Duration

	base atomic.Pointer[reading]
	why  atomic.Pointer[error] // the last look failed, if it did

	mu    sync.Mutex // one look at a time
	looks int        // that succeeded
	far   bool       // the replica's clock is far from Redis'

	stop context.CancelFunc // nil until Start
	work sync.WaitGroup
}

// reading is the common time at a moment of the own one.
type reading struct{ own, common time.Time }

var _ clock.Clock = (*Clock)(nil)

var errNotAsked = errors.New("the clock of Redis has not been read yet")

// New returns a clock that does not know the common time yet.
func New(o Options) (*Clock, error) {
	if o.Client == nil || o.Clock == nil {
		return nil, errors.New("a common clock needs a client and a clock of its own")
	}
	if o.Prefix == "" {
		o.Prefix = "ucwagate"
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Clock{
		client: o.Client, own: o.Clock, log: o.Logger, key: o.Prefix + ":{clock}", timeout: o.Timeout,
	}
	c.why.Store(&errNotAsked)
	return c, nil
}

// Start begins to look at Redis' clock again and again, until Close.
func (c *Clock) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.work.Go(func() {
		for ctx.Err() == nil {
			pause := every
			if c.Look(ctx) != nil && c.base.Load() == nil {
				pause = soon
			}
			clock.Wait(ctx, c.own, pause)
		}
	})
}

// Close ends what Start began.
func (c *Clock) Close() {
	if c.stop != nil {
		c.stop()
	}
	c.work.Wait()
}

// Now returns the common time; before it is known, the replica's own.
func (c *Clock) Now() time.Time {
	now := c.own.Now()
	if b := c.base.Load(); b != nil {
		return b.at(now)
	}
	return now
}

func (r *reading) at(own time.Time) time.Time { return r.common.Add(own.Sub(r.own)) }

// AfterFunc implements clock.Clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) clock.Timer { return c.own.AfterFunc(d, f) }

// Unknown returns why the common time is not known; nil if it is.
func (c *Clock) Unknown() error {
	if c.base.Load() != nil {
		return nil
	}
	return *c.why.Load()
}

// Look looks at Redis' clock once. Whoever has called Start need not.
func (c *Clock) Look(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.look(ctx); err != nil {
		err = fmt.Errorf("asking Redis for the time: %w", err)
		c.why.Store(&err)
		return err
	}
	c.looks++
	return nil
}

func (c *Clock) look(ctx context.Context) error {
	base, before, mine := c.base.Load(), c.own.Now(), ""
	if c.looks >= believed {
		mine = strconv.FormatInt(base.at(before).UnixMicro(), 10)
	}
	said, err := tell.Exec(ctx, c.client, []string{c.key}, []string{mine, tolerance, strconv.FormatInt(life.Milliseconds(), 10)}).AsIntSlice()
	if err != nil {
		return err
	}
	after := c.own.Now()
	took := max(0, after.Sub(before))
	switch {
	case len(said) != 2:
		return errors.New("the answer has another form")
	case base != nil && took > slow:
		return fmt.Errorf("it took %s", took)
	}
	// It was so at some moment of the trip.
	earliest := time.UnixMicro(said[0]).UTC()
	latest := earliest.Add(took)
	next := reading{after, earliest.Add(took / 2)}
	if base != nil {
		switch next.common = base.at(after); {
		case next.common.Before(earliest):
			next.common = earliest
		case next.common.After(latest):
			next.common = latest
		}
		if by := next.common.Sub(base.at(after)); by.Abs() >= noticed {
			c.log.WarnContext(ctx, "the time that the replicas have in common has moved", "by", by.String())
		}
	}
	c.base.Store(&next)
	c.compare(ctx, after, time.UnixMicro(said[1]))
	return nil
}

// compare warns of a clock that is far from Redis': web tickets and what Graph
// says are not timed by the common one.
func (c *Clock) compare(ctx context.Context, own, redis time.Time) {
	by := own.Round(0).Sub(redis) // without the monotonic reading
	far := by.Abs() >= noticed
	if far && !c.far {
		c.log.WarnContext(ctx, "the clock of this machine differs from that of Redis: one of them is not kept by NTP", "ahead", by.Round(time.Millisecond).String())
	}
	c.far = far
}
