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
// callers who wait for it leave; one that waits for its turn does not. Turns go
// round over the clients of the callers; what several ask for is asked when the
// turn of any of them comes.
type memo[V any] struct {
	op        string
	life      *lifetime
	clk       clock.Clock
	timeout   time.Duration
	ttl       time.Duration // of an answer
	negative  time.Duration // of "not found" and other refusals
	forbidden time.Duration // of "forbidden"; 0: as negative
	grant     *grant
	turns     int // how many questions may be under way; 0: any number
	entries   *otter.Cache[string, remembered[V]]

	mu      sync.Mutex
	flights map[string]*flight[V]
	waiting fair[*flight[V]] // for a turn
	free    int              // turns that nobody has
}

// flight is one question, under way or waiting for its turn. Its fields are
// guarded by memo.mu, but for got.
type flight[V any] struct {
	askers int
	seats  []*seat[*flight[V]] // those of its callers, while it waits for its turn
	ready  bool                // its turn has come
	asked  bool                // it makes use of it: it goes on, whoever leaves
	turn   chan struct{}       // closed when ready
	left   chan struct{}       // closed when nobody waits for it before it is asked
	done   chan struct{}       // closed when got is there
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
	m.free = m.turns
	return m, nil
}

// loader asks a question, see getUntil.
type loader[V any] = func(ctx context.Context) (V, time.Time, error)

// get returns the answer to key, asking by load if it is not remembered.
// An answer past its time is returned while Graph fails. Errors are *Error.
func (m *memo[V]) get(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (V, error) {
	if r, ok := m.recall(key); ok {
		return r.result()
	}
	return m.getUntil(ctx, key, func(ctx context.Context) (V, time.Time, error) {
		value, err := load(ctx)
		return value, time.Time{}, err
	})
}

// getUntil is get where load says until when the answer holds, if somebody else
// asked before; zero: it is Graph's, and holds for the usual time.
func (m *memo[V]) getUntil(ctx context.Context, key string, load loader[V]) (V, error) {
	if r, ok := m.recall(key); ok {
		return r.result()
	}
	f, s := m.join(ctx, key, load)
	select {
	case <-f.done:
		return f.got.result()
	case <-ctx.Done():
		m.leave(key, f, s)
		var none V
		return none, asError(m.op, ctx.Err())
	}
}

// join waits for the flight of a key together with others, or starts it. A
// flight that waits for its turn has a seat for each caller.
func (m *memo[V]) join(ctx context.Context, key string, load loader[V]) (*flight[V], *seat[*flight[V]]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[key]
	if f == nil {
		f = &flight[V]{turn: make(chan struct{}), left: make(chan struct{}), done: make(chan struct{})}
		m.flights[key] = f
		if m.turns == 0 || m.free > 0 {
			m.free--
			m.grantTurn(f)
		}
		lane, client := budget.LaneOf(ctx), budget.ClientOf(ctx)
		go func() {
			f.got = m.ask(lane, client, key, f, load)
			m.mu.Lock()
			m.forget(key, f)
			m.mu.Unlock()
			close(f.done)
		}()
	}
	f.askers++
	if f.ready {
		return f, nil
	}
	s := new(seat[*flight[V]])
	m.waiting.push(budget.ClientOf(ctx), s, f)
	f.seats = append(f.seats, s)
	return f, s
}

// leave withdraws a caller; a question whose turn has not come goes with the
// last of them.
func (m *memo[V]) leave(key string, f *flight[V], s *seat[*flight[V]]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s != nil {
		m.waiting.leave(s)
	}
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
// passed on.
func (m *memo[V]) await(f *flight[V]) bool {
	select {
	case <-f.turn:
	case <-f.left:
	case <-m.life.ctx.Done():
	}
	m.mu.Lock()
	f.asked = f.ready && f.askers > 0
	asked := f.asked
	m.mu.Unlock()
	if !asked {
		m.drop(f)
	}
	return asked
}

// drop gives up what a flight that is not asked has: its turn or its seats.
func (m *memo[V]) drop(f *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.ready {
		m.passTurn()
	} else {
		m.rise(f)
	}
}

// pass gives a turn to the next.
func (m *memo[V]) pass() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passTurn()
}

// passTurn is pass for who holds mu.
func (m *memo[V]) passTurn() {
	if m.waiting.empty() {
		m.free++
		return
	}
	m.grantTurn(m.waiting.turn())
}

func (m *memo[V]) grantTurn(f *flight[V]) {
	m.rise(f)
	f.ready = true
	close(f.turn)
}

// rise gives up the seats of a flight.
func (m *memo[V]) rise(f *flight[V]) {
	for _, s := range f.seats {
		m.waiting.leave(s)
	}
	f.seats = nil
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

func (m *memo[V]) ask(lane budget.Lane, client, key string, f *flight[V], load loader[V]) remembered[V] {
	closed := remembered[V]{err: &Error{Op: m.op, Kind: KindUnavailable, Err: errClosed}}
	if !m.life.enter() {
		m.drop(f)
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
	ctx := budget.WithClient(budget.WithLane(m.life.ctx, lane), client)
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	value, until, err := load(ctx)
	if !until.IsZero() { // whoever asked had the permission
		if err != nil {
			r.err = asError(m.op, err)
		} else {
			r.value = value
		}
		r.until = until
		return m.store(key, r)
	}
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
func (m *memo[V]) put(key string, value V) { m.putUntil(key, value, m.clk.Now().Add(m.ttl)) }

func (m *memo[V]) putUntil(key string, value V, until time.Time) {
	m.store(key, remembered[V]{value: value, until: until})
}
