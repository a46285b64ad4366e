package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"

	"ucwagate/gateway"
	"ucwagate/gateway/redisstore"
	"ucwagate/gateway/storetest"
	"ucwagate/graphsrc/redistest"
)

// wire is a client on whose way to Redis something happens.
type wire struct {
	rueidis.Client
	mu sync.Mutex
	on func(words []string) mishap
}

// mishap is what happens to a command: before runs before Redis does it, after
// runs after that. If fails is set Redis never hears of it. The answer is lost
// if lost is set, or if the caller has gone by then.
type mishap struct {
	before, after func()
	lost, fails   bool
}

var errLost = errors.New("the answer was lost")

// happens sets what happens to the commands from now on.
func (w *wire) happens(on func(words []string) mishap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = on
}

func (w *wire) mishap(cmd rueidis.Completed) mishap {
	w.mu.Lock()
	on := w.on
	w.mu.Unlock()
	if on == nil {
		return mishap{}
	}
	return on(slices.Clone(cmd.Commands()))
}

func (w *wire) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	return w.do(ctx, cmd, w.mishap(cmd))
}

func (w *wire) do(ctx context.Context, cmd rueidis.Completed, m mishap) rueidis.RedisResult {
	if m.before != nil {
		m.before()
	}
	if m.fails {
		return rueidis.NewErrorResult(errLost)
	}
	r := w.Client.Do(context.WithoutCancel(ctx), cmd)
	if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
		return r // nothing was done
	}
	if m.after != nil {
		m.after()
	}
	switch {
	case ctx.Err() != nil:
		return rueidis.NewErrorResult(ctx.Err())
	case m.lost:
		return rueidis.NewErrorResult(errLost)
	}
	return r
}

func (w *wire) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	w.mu.Lock()
	quiet := w.on == nil
	w.mu.Unlock()
	if quiet {
		return w.Client.DoMulti(ctx, multi...)
	}
	results := make([]rueidis.RedisResult, len(multi))
	for i, cmd := range multi {
		results[i] = w.do(ctx, cmd, w.mishap(cmd))
	}
	return results
}

// overWire are two stores on one server, of which the first reaches it over a
// wire. There is an application "1".
func overWire(t *testing.T) (a, b *redisstore.Store, client *wire, clk *storetest.Clock) {
	t.Helper()
	server := redistest.Start(t)
	client, clk = &wire{Client: server.Client(t)}, storetest.NewClock()
	a, b = openImpatient(t, client, clk), openImpatient(t, server.Client(t), clk)
	a.Open(gateway.Hooks{})
	b.Open(gateway.Hooks{})
	create(t, a, "1")
	return a, b, client, clk
}

// runs says whether a command runs a script on so many keys, of which one is of
// this kind.
func runs(words []string, kind string, keys string) bool {
	if !strings.HasPrefix(words[0], "EVAL") || words[2] != keys {
		return false
	}
	return slices.ContainsFunc(words[3:], func(key string) bool { return strings.Contains(key, "}:"+kind) })
}

// commits says whether a command keeps a session.
func commits(words []string) bool { return runs(words, "app:", "7") }
