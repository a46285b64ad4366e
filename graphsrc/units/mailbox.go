package units

import (
	"context"
	"fmt"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// The limits of a mailbox: 10,000 requests in 10 min, and 4 at once. The plan,
// of the same mathematics as that of the units, is 100 + 16·(600+1) = 9,716. A
// mailbox not asked lately begins with as many requests as may run at once, not
// with none: a photo need not wait, and the margin bears 70 restarts in 10 min.
const (
	mailboxTurns    = 4
	mailboxCapacity = 100
	mailboxRate     = 16 // a second
	mailboxStart    = mailboxTurns
	// mailboxIdle is after how long a mailbox that nobody asks is forgotten: its
	// bucket is full by then.
	mailboxIdle = 10 * time.Second
	// mailboxPause is how long a mailbox is left alone whose service throttles
	// without saying for how long.
	mailboxPause = 30 * time.Second
)

// mailboxes hands out turns at mailboxes.
type mailboxes struct {
	clk clock.Clock

	mu        sync.Mutex
	known     map[string]*mailbox
	swept     time.Time
	waiting   int
	throttled uint64
	closed    bool
	end       chan struct{}
}

// mailbox is one of them. Its fields, but for turns, are guarded by mailboxes.mu.
type mailbox struct {
	turns       chan struct{} // has room for the requests that may run
	users       int           // callers who hold or want a turn
	level       float64       // requests; below zero: promised to who waits
	filled      time.Time
	pausedUntil time.Time
}

func newMailboxes(clk clock.Clock) *mailboxes {
	return &mailboxes{clk: clk, known: make(map[string]*mailbox), swept: clk.Now(), end: make(chan struct{})}
}

func (m *mailboxes) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.end)
	}
}

// enter waits for a turn at a mailbox; leave gives it back.
func (m *mailboxes) enter(ctx context.Context, cost Cost) (*mailbox, error) {
	box, err := m.get(cost.Mailbox)
	if err != nil {
		return nil, err
	}
	select {
	case box.turns <- struct{}{}:
	case <-ctx.Done():
		m.release(box)
		return nil, fmt.Errorf("waiting for a turn at a mailbox: %w", ctx.Err())
	case <-m.end:
		m.release(box)
		return nil, fmt.Errorf("waiting for a turn at a mailbox: %w", ErrClosed)
	}
	wait, err := m.take(ctx, box, cost)
	if err == nil {
		err = m.pause(ctx, wait)
	}
	if err != nil {
		m.leave(box)
		return nil, err
	}
	return box, nil
}

func (m *mailboxes) get(name string) (*mailbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("waiting for a turn at a mailbox: %w", ErrClosed)
	}
	now := m.clk.Now()
	m.sweep(now)
	box := m.known[name]
	if box == nil {
		box = &mailbox{turns: make(chan struct{}, mailboxTurns), level: mailboxStart, filled: now}
		m.known[name] = box
	}
	box.users++
	return box, nil
}

// sweep forgets mailboxes, once in a while.
func (m *mailboxes) sweep(now time.Time) {
	if now.Sub(m.swept) < mailboxIdle {
		return
	}
	m.swept = now
	for name, box := range m.known {
		if box.users == 0 && now.Sub(box.filled) >= mailboxIdle && !now.Before(box.pausedUntil) {
			delete(m.known, name)
		}
	}
}

// take takes one request out of the bucket and returns when it is due.
func (m *mailboxes) take(ctx context.Context, box *mailbox, cost Cost) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	passed := max(now.Sub(box.filled).Seconds(), 0)
	box.level = min(box.level+passed*mailboxRate, mailboxCapacity)
	box.filled = now
	wait := max(box.pausedUntil.Sub(now), 0)
	if box.level < 1 {
		wait = max(wait, time.Duration((1-box.level)/mailboxRate*float64(time.Second)))
	}
	if deadline, ok := ctx.Deadline(); ok && wait > 0 && deadline.Sub(now) <= wait {
		return 0, &ExhaustedError{Cost: cost, Lane: budget.LaneOf(ctx), RetryAfter: max(wait, time.Millisecond)}
	}
	box.level--
	return wait, nil
}

func (m *mailboxes) pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	m.mu.Lock()
	m.waiting++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.waiting--
		m.mu.Unlock()
	}()
	passed := make(chan struct{})
	t := m.clk.AfterFunc(wait, func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a mailbox: %w", ctx.Err())
	case <-m.end:
		return fmt.Errorf("waiting for a mailbox: %w", ErrClosed)
	}
}

// leave gives a turn back.
func (m *mailboxes) leave(box *mailbox) {
	<-box.turns
	m.release(box)
}

func (m *mailboxes) release(box *mailbox) {
	m.mu.Lock()
	defer m.mu.Unlock()
	box.users--
}

// shut leaves a mailbox alone for a time.
func (m *mailboxes) shut(box *mailbox, pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.throttled++
	if until := m.clk.Now().Add(pause); until.After(box.pausedUntil) {
		box.pausedUntil = until
	}
}

func (m *mailboxes) count() (known, waiting int, throttled uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known), m.waiting, m.throttled
}
