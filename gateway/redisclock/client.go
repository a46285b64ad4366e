package redisclock

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// Client returns a client that refuses commands before the common time is known:
// the times in them are of another.
func (c *Clock) Client() rueidis.Client { return timed{c.client, c} }

type timed struct {
	rueidis.Client
	clock *Clock
}

func (t timed) ready() error {
	if err := t.clock.Unknown(); err != nil {
		return fmt.Errorf("the common time is not known yet: %w", err)
	}
	return nil
}

// Do sends a command.
func (t timed) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	if err := t.ready(); err != nil {
		return rueidis.NewErrorResult(err)
	}
	return t.Client.Do(ctx, cmd)
}

// DoMulti sends commands together.
func (t timed) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	if err := t.ready(); err != nil {
		return all(len(multi), err)
	}
	return t.Client.DoMulti(ctx, multi...)
}

// DoCache is Do for a command whose answer may be remembered.
func (t timed) DoCache(ctx context.Context, cmd rueidis.Cacheable, ttl time.Duration) rueidis.RedisResult {
	if err := t.ready(); err != nil {
		return rueidis.NewErrorResult(err)
	}
	return t.Client.DoCache(ctx, cmd, ttl)
}

// DoMultiCache is DoMulti for commands whose answers may be remembered.
func (t timed) DoMultiCache(ctx context.Context, multi ...rueidis.CacheableTTL) []rueidis.RedisResult {
	if err := t.ready(); err != nil {
		return all(len(multi), err)
	}
	return t.Client.DoMultiCache(ctx, multi...)
}

func all(n int, err error) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, n)
	for i := range results {
		results[i] = rueidis.NewErrorResult(err)
	}
	return results
}
