package graphsrc

import (
	"context"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// failureMemory is how long a failure is answered from memory, and how long
// an expired answer is served again after asking anew has failed.
const failureMemory = time.Second

// memo remembers the answers to one kind of question and asks once for all who
// wait for the same answer. A question that is under way goes on when the
// caller who started it leaves.
type memo[V any] struct {
	op       string
	life     *lifetime
	clk      clock.Clock
	timeout  time.Duration
	ttl      time.Duration // of an answer
	negative time.Duration // of "not found" and "forbidden"
	grant    *grant
	entries  *otter.Cache[string, remembered[V]]
	flights  singleflight.Group
}

type remembered[V any] struct {
	value V
	err   *Error // with a value: none
	until time.Time
}

// newMemo bounds the memory by the sum of the answers' weights.
func newMemo[V any](m *memo[V], maximum int, weight func(V) int) (*memo[V], error) {
	entries, err := otter.New(&otter.Options[string, remembered[V]]{
		MaximumWeight: uint64(maximum),
		Weigher:       func(_ string, r remembered[V]) uint32 { return uint32(max(1, weight(r.value))) },
	})
	if err != nil {
		return nil, fmt.Errorf("building the memory for %s: %w", m.op, err)
	}
	m.entries = entries
	return m, nil
}

// get returns the answer to key, asking by load if it is not remembered.
// An answer past its time is returned while Graph fails. Errors are *Error.
func (m *memo[V]) get(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (V, error) {
	if r, ok := m.recall(key); ok {
		return r.result()
	}
	flight := m.flights.DoChan(key, func() (any, error) { return m.ask(budget.LaneOf(ctx), key, load), nil })
	select {
	case got := <-flight:
		return got.Val.(remembered[V]).result()
	case <-ctx.Done():
		var none V
		return none, asError(m.op, ctx.Err())
	}
}

// recall returns what is remembered and still holds. It does not allocate.
func (m *memo[V]) recall(key string) (remembered[V], bool) {
	r, ok := m.entries.GetIfPresent(key)
	return r, ok && m.clk.Now().Before(r.until)
}

func (r remembered[V]) result() (V, error) {
	if r.err != nil {
		return r.value, r.err
	}
	return r.value, nil
}

func (m *memo[V]) ask(lane budget.Lane, key string, load func(ctx context.Context) (V, error)) remembered[V] {
	var r remembered[V]
	if !m.life.enter() {
		r.err = &Error{Op: m.op, Kind: KindUnavailable, Err: errClosed}
		return r
	}
	defer m.life.leave()
	old, known := m.entries.GetIfPresent(key)
	if known && m.clk.Now().Before(old.until) {
		return old // the flight before this one has just landed
	}
	if hidden := m.grant.check(); hidden != nil {
		r.err = asError(m.op, hidden)
		return r
	}
	ctx, cancel := context.WithTimeout(budget.WithLane(m.life.ctx, lane), m.timeout)
	defer cancel()
	value, err := load(ctx)
	if err == nil {
		m.grant.observe(nil)
		return m.store(key, remembered[V]{value: value, until: m.clk.Now().Add(m.ttl)})
	}
	r.err = asError(m.op, err)
	m.grant.observe(r.err)
	keep := m.negative
	if r.err.Kind.transient() {
		keep = failureMemory
		if known && old.err == nil {
			r = old
		}
	}
	r.until = m.clk.Now().Add(keep)
	return m.store(key, r)
}

func (m *memo[V]) store(key string, r remembered[V]) remembered[V] {
	m.entries.Set(key, r)
	return r
}

// put remembers an answer that came by another way.
func (m *memo[V]) put(key string, value V) {
	m.store(key, remembered[V]{value: value, until: m.clk.Now().Add(m.ttl)})
}
