package redisclock

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// Client returns a client that sends no command before the common time is known:
// what it is about could be counted by another.
func (c *Clock) Client() rueidis.Client { return patient{c.client, c} }

type patient struct {
	rueidis.Client
	clock *Clock
}

func (p patient) wait(ctx context.Context) error {
	select {
	case <-p.clock.known:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the common time: %w", ctx.Err())
	}
}

// Do sends a command.
func (p patient) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	if err := p.wait(ctx); err != nil {
		return rueidis.NewErrorResult(err)
	}
	return p.Client.Do(ctx, cmd)
}

// DoMulti sends commands together.
func (p patient) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	if err := p.wait(ctx); err != nil {
		return all(len(multi), err)
	}
	return p.Client.DoMulti(ctx, multi...)
}

// DoCache is Do for a command whose answer may be remembered.
func (p patient) DoCache(ctx context.Context, cmd rueidis.Cacheable, ttl time.Duration) rueidis.RedisResult {
	if err := p.wait(ctx); err != nil {
		return rueidis.NewErrorResult(err)
	}
	return p.Client.DoCache(ctx, cmd, ttl)
}

// DoMultiCache is DoMulti for commands whose answers may be remembered.
func (p patient) DoMultiCache(ctx context.Context, multi ...rueidis.CacheableTTL) []rueidis.RedisResult {
	if err := p.wait(ctx); err != nil {
		return all(len(multi), err)
	}
	return p.Client.DoMultiCache(ctx, multi...)
}

func all(n int, err error) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, n)
	for i := range results {
		results[i] = rueidis.NewErrorResult(err)
	}
	return results
}
