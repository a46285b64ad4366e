package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc/clock"
)

// again is how long to wait before connecting is tried again.
const again = 500 * time.Millisecond

var errNotConnected = errors.New("there is no connection to Redis yet")

// Options are what a Client needs beside the configuration.
type Options struct {
	Clock  clock.Clock  // required
	Logger *slog.Logger // required
	// Observe is told of every command that was sent: its operation and result,
	// one of Operations and Results, and how long it took, -1 for one that
	// waits by itself. A pipeline is one command. It may be nil.
	Observe func(operation, result string, took time.Duration)
}

// Client is a rueidis.Client that exists before its connection does, ends
// commands in time and measures them. A command with a context that ends later
// is given the configured timeout, unless it is one that waits by itself.
//
// Until the first connection commands fail, at once unless it is being made for
// the first time; whoever uses the client treats every error that is no
// rueidis.RedisError as Redis being away.
type Client struct {
	o       Options
	cfg     config.Redis
	builder rueidis.Builder
	connect func() (rueidis.Client, error)

	current atomic.Pointer[rueidis.Client]
	why     atomic.Pointer[error] // why there is no current
	tried   chan struct{}         // closed once connecting was tried
	state   stateKeeper

	mu     sync.Mutex // guards closing against a connection that comes late
	closed bool
	stop   context.CancelFunc
	done   sync.WaitGroup
}

var _ rueidis.Client = (*Client)(nil)

// Open returns a client of what c names and begins to connect. It fails where
// passwords or certificates cannot be read, not because Redis is away. Close it.
func Open(c config.Redis, o Options) (*Client, error) {
	opt, err := option(c)
	if err != nil {
		return nil, err
	}
	client := &Client{o: o, cfg: c, builder: builder(c.Cluster), tried: make(chan struct{}), connect: func() (rueidis.Client, error) {
		opt := opt
		opt.InitAddress = slices.Clone(opt.InitAddress) // it is shuffled, and clients that failed go on reading theirs
		return rueidis.NewClient(opt)
	}}
	client.why.Store(&errNotConnected)
	client.state.began(o.Clock.Now())
	ctx, cancel := context.WithCancel(context.Background())
	client.stop = cancel
	client.done.Go(func() {
		client.connecting(ctx)
		client.probing(ctx)
	})
	return client, nil
}

// connecting returns when there is a client, or ctx ends.
func (c *Client) connecting(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		connected, err := c.connect()
		if connected != nil {
			// A client of a single server is one whether or not the server answers.
			c.take(connected)
		} else {
			err = fmt.Errorf("connecting to Redis: %w", err)
			c.why.Store(&err)
		}
		if first {
			close(c.tried)
		}
		if connected != nil {
			return
		}
		c.probed(ctx, err)
		clock.Wait(ctx, c.o.Clock, again)
	}
}

func (c *Client) take(connected rueidis.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		connected.Close()
		return
	}
	c.current.Store(&connected)
}

// Close ends the connection. Commands fail from then on.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	current := c.current.Load()
	c.mu.Unlock()
	c.stop()
	if current != nil {
		(*current).Close()
	}
	c.done.Wait()
}

// get returns the connected client, or why there is none. At the very start it
// waits for that.
func (c *Client) get(ctx context.Context) (rueidis.Client, error) {
	if current := c.current.Load(); current != nil {
		return *current, nil
	}
	limit := time.NewTimer(c.cfg.Timeout)
	defer limit.Stop()
	select {
	case <-c.tried:
	case <-limit.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if current := c.current.Load(); current != nil {
		return *current, nil
	}
	return nil, *c.why.Load()
}

// B returns the builder of commands.
func (c *Client) B() rueidis.Builder { return c.builder }

// Do sends a command.
func (c *Client) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	client, err := c.get(ctx)
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	// The command is not to be looked at once it has been sent.
	m := c.measure(nameOf(cmd.Commands()), cmd.IsBlock())
	if !cmd.IsBlock() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	result := client.Do(ctx, cmd)
	m.ended(result.Error())
	return result
}

// DoMulti sends commands together.
func (c *Client) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	client, err := c.get(ctx)
	if err != nil {
		return all(len(multi), err)
	}
	waits := false
	for _, cmd := range multi {
		waits = waits || cmd.IsBlock()
	}
	m := c.measure(operationPipeline, waits)
	if !waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	results := client.DoMulti(ctx, multi...)
	m.endedAll(results)
	return results
}

// DoCache is Do for a command whose answer may be remembered here until the key
// changes.
func (c *Client) DoCache(ctx context.Context, cmd rueidis.Cacheable, ttl time.Duration) rueidis.RedisResult {
	client, err := c.get(ctx)
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	m := c.measure(nameOf(cmd.Commands()), false)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	result := client.DoCache(ctx, cmd, ttl)
	if !result.IsCacheHit() {
		m.ended(result.Error())
	}
	return result
}

// DoMultiCache is DoMulti for commands whose answers may be remembered here.
func (c *Client) DoMultiCache(ctx context.Context, multi ...rueidis.CacheableTTL) []rueidis.RedisResult {
	client, err := c.get(ctx)
	if err != nil {
		return all(len(multi), err)
	}
	m := c.measure(operationPipeline, false)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	results := client.DoMultiCache(ctx, multi...)
	m.endedAll(results)
	return results
}

// Receive subscribes until ctx ends or the connection does: messages may have
// been lost then.
func (c *Client) Receive(ctx context.Context, subscribe rueidis.Completed, fn func(rueidis.PubSubMessage)) error {
	client, err := c.get(ctx)
	if err != nil {
		return err
	}
	return client.Receive(ctx, subscribe, fn)
}

// DoStream sends a command whose answer is read as a stream.
func (c *Client) DoStream(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResultStream {
	client, err := c.get(ctx)
	if err != nil {
		return rueidis.NewErrorResultStream(err)
	}
	return client.DoStream(ctx, cmd)
}

// DoMultiStream sends commands whose answers are read as a stream.
func (c *Client) DoMultiStream(ctx context.Context, multi ...rueidis.Completed) rueidis.MultiRedisResultStream {
	client, err := c.get(ctx)
	if err != nil {
		return rueidis.NewErrorResultStream(err)
	}
	return client.DoMultiStream(ctx, multi...)
}

// Dedicated lends a connection to fn.
func (c *Client) Dedicated(fn func(rueidis.DedicatedClient) error) error {
	client, err := c.get(context.Background())
	if err != nil {
		return err
	}
	return client.Dedicated(fn)
}

// Dedicate lends a connection until the function returned is called.
func (c *Client) Dedicate() (rueidis.DedicatedClient, func()) {
	client, err := c.get(context.Background())
	if err != nil {
		return away{c.builder, err}, func() {}
	}
	return client.Dedicate()
}

// Nodes are clients of the servers known; none before the first connection.
func (c *Client) Nodes() map[string]rueidis.Client {
	client, err := c.get(context.Background())
	if err != nil {
		return nil
	}
	return client.Nodes()
}

// Mode is what the configuration says it is.
func (c *Client) Mode() rueidis.ClientMode {
	switch {
	case c.cfg.Sentinel != "":
		return rueidis.ClientModeSentinel
	case c.cfg.Cluster:
		return rueidis.ClientModeCluster
	default:
		return rueidis.ClientModeStandalone
	}
}

func all(n int, err error) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, n)
	for i := range results {
		results[i] = rueidis.NewErrorResult(err)
	}
	return results
}

// away is a connection that nobody has.
type away struct {
	builder rueidis.Builder
	err     error
}

func (a away) B() rueidis.Builder { return a.builder }
func (a away) Close()             {}

func (a away) Do(context.Context, rueidis.Completed) rueidis.RedisResult {
	return rueidis.NewErrorResult(a.err)
}

func (a away) DoMulti(_ context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	return all(len(multi), a.err)
}

func (a away) Receive(context.Context, rueidis.Completed, func(rueidis.PubSubMessage)) error {
	return a.err
}

func (a away) SetPubSubHooks(rueidis.PubSubHooks) <-chan error { return a.ended() }

func (a away) SetOnInvalidations(func([]rueidis.RedisMessage)) <-chan error { return a.ended() }

func (a away) ended() <-chan error {
	ended := make(chan error, 1)
	ended <- a.err
	close(ended)
	return ended
}
