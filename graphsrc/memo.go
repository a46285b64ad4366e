package graphsrc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// failureMemory is how long a failure is answered from memory, and how long
// an expired answer is served again after asking anew has failed.
const failureMemory = time.Second

// memo remembers the answers to one kind of question and asks once for all who
// wait for the same answer. A question that is under way goes on when the
// callers who wait for it leave; one that waits for its turn does not.
type memo[V any] struct {
	op        string
	life      *lifetime
	clk       clock.Clock
	timeout   time.Duration
	ttl       time.Duration // of an answer
	negative  time.Duration // of "not found" and other refusals
	forbidden time.Duration // of "forbidden"; 0: as negative
	grant     *grant
	turns     chan struct{} // has room for the questions that may be under way; nil: any number
	entries   *otter.Cache[string, remembered[V]]

	mu      sync.Mutex
	flights map[string]*flight[V]
}

// flight is one question, under way or waiting for its turn. Its fields are
// guarded by memo.mu, but for got.
type flight[V any] struct {
	askers int
	asked  bool          // its turn has come: it goes on, whoever leaves
	left   chan struct{} // closed when nobody waits for it before its turn has come
	done   chan struct{} // closed when got is there
	got    remembered[V]
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
	m.flights = make(map[string]*flight[V])
	return m, nil
}

// get returns the answer to key, asking by load if it is not remembered.
// An answer past its time is returned while Graph fails. Errors are *Error.
func (m *memo[V]) get(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (V, error) {
	if r, ok := m.recall(key); ok {
		return r.result()
	}
	f := m.join(budget.LaneOf(ctx), key, load)
	select {
	case <-f.done:
		return f.got.result()
	case <-ctx.Done():
		m.leave(key, f)
		var none V
		return none, asError(m.op, ctx.Err())
	}
}

// join waits for the flight of a key together with others, or starts it.
func (m *memo[V]) join(lane budget.Lane, key string, load func(ctx context.Context) (V, error)) *flight[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[key]
	if f == nil {
		f = &flight[V]{left: make(chan struct{}), done: make(chan struct{})}
		m.flights[key] = f
		go func() {
			f.got = m.ask(lane, key, f, load)
			m.mu.Lock()
			m.forget(key, f)
			m.mu.Unlock()
			close(f.done)
		}()
	}
	f.askers++
	return f
}

// leave withdraws a caller; a question whose turn has not come goes with the
// last of them.
func (m *memo[V]) leave(key string, f *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.askers--; f.askers == 0 && !f.asked {
		m.forget(key, f)
		close(f.left)
	}
}

// forget lets the next caller start another flight. The caller holds mu.
func (m *memo[V]) forget(key string, f *flight[V]) {
	if m.flights[key] == f {
		delete(m.flights, key)
	}
}

// await waits for the turn of a flight. If it returns true, the turn is to be
// given back.
func (m *memo[V]) await(f *flight[V]) bool {
	if m.turns != nil {
		select {
		case m.turns <- struct{}{}:
		case <-f.left:
			return false
		case <-m.life.ctx.Done():
			return false
		}
	}
	m.mu.Lock()
	f.asked = f.askers > 0
	m.mu.Unlock()
	if !f.asked {
		m.pass()
	}
	return f.asked
}

// pass gives a turn to the next.
func (m *memo[V]) pass() {
	if m.turns != nil {
		<-m.turns
	}
}

// recall returns what is remembered and still holds. It does not allocate.
func (m *memo[V]) recall(key string) (remembered[V], bool) {
	r, ok := m.entries.GetIfPresent(key)
	return r, ok && m.clk.Now().Before(r.until)
}

// last returns the answer remembered, even past its time; without one, the
// zero value.
func (m *memo[V]) last(key string) V {
	r, _ := m.entries.GetEntryQuietly(key)
	return r.Value.value
}

func (r remembered[V]) result() (V, error) {
	if r.err != nil {
		return r.value, r.err
	}
	return r.value, nil
}

func (m *memo[V]) ask(lane budget.Lane, key string, f *flight[V], load func(ctx context.Context) (V, error)) remembered[V] {
	closed := remembered[V]{err: &Error{Op: m.op, Kind: KindUnavailable, Err: errClosed}}
	if !m.life.enter() {
		return closed
	}
	defer m.life.leave()
	if !m.await(f) {
		return closed // or there is nobody left to read this
	}
	defer m.pass()
	var r remembered[V]
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
	switch {
	case r.err.Kind == KindForbidden && m.forbidden > 0:
		keep = m.forbidden
	case r.err.Kind.transient():
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
