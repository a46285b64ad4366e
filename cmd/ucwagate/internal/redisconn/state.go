package redisconn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/clock"
)

const (
	// probeInterval is the time between two looks at Redis.
	probeInterval = time.Second
	// probeLife is how long the key of a probe lives, in seconds.
	probeLife = 60
	// clusterProbes is how many slots of a cluster are looked at: enough that a
	// few masters all have some of them.
	clusterProbes = 16
)

// State is whether Redis takes writes.
type State struct {
	// Err is why it does not; nil if it does.
	Err error
	// Since is when it began to be so.
	Since time.Time
}

// State returns what the last probe found. Before the first it is an error.
func (c *Client) State() State { return c.state.get() }

// Unreachable returns why Redis has not taken writes for longer than grace, or
// never has, in words that may be shown; nil otherwise.
func (c *Client) Unreachable(grace time.Duration) error {
	s, ever := c.state.get(), c.state.wasReached()
	age := c.o.Clock.Now().Sub(s.Since)
	if s.Err == nil || ever && age <= grace {
		return nil
	}
	return fmt.Errorf("for %s: %w", age.Round(time.Second), s.Err)
}

type stateKeeper struct {
	mu      sync.Mutex
	state   State
	reached bool // once at least
}

func (k *stateKeeper) began(now time.Time) { k.state = State{Err: errNotConnected, Since: now} }

func (k *stateKeeper) get() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *stateKeeper) wasReached() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reached
}

// set takes the outcome of a probe and returns the state before, and whether
// that was of the other kind, or the first of all.
func (k *stateKeeper) set(err error, now time.Time) (before State, changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before = k.state
	changed = (before.Err == nil) != (err == nil) || errors.Is(before.Err, errNotConnected) && err != nil
	k.reached = k.reached || err == nil
	k.state.Err = err
	if (before.Err == nil) != (err == nil) {
		k.state.Since = now
	}
	return before, changed
}

// probing looks at Redis until ctx ends.
func (c *Client) probing(ctx context.Context) {
	for ctx.Err() == nil {
		c.probed(ctx, c.probe(ctx))
		clock.Wait(ctx, c.o.Clock, probeInterval)
	}
}

// probe writes: a server that only reads, or has no memory left, is no good.
func (c *Client) probe(ctx context.Context) error {
	client, err := c.get(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	n := 1
	if c.cfg.Cluster {
		n = clusterProbes
	}
	var probes []rueidis.Completed
	for i := range n {
		key := c.cfg.Prefix + ":{probe" + strconv.Itoa(i) + "}"
		probes = append(probes, client.B().Set().Key(key).Value("1").ExSeconds(probeLife).Build())
	}
	for _, result := range client.DoMulti(ctx, probes...) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) probed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	now := c.o.Clock.Now()
	before, changed := c.state.set(err, now)
	switch {
	case !changed:
	case err != nil:
		c.o.Logger.WarnContext(ctx, "Redis cannot be used", "error", err)
	default:
		c.o.Logger.InfoContext(ctx, "Redis is in use", "after", now.Sub(before.Since).Round(time.Millisecond).String())
	}
}
