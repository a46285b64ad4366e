package storetest

import (
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// Clock is a clock that stands still until it is advanced. Its timers run on
// the goroutine that advances it.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]struct{}
}

type timer struct {
	clock *Clock
	at    time.Time
	f     func()
}

var _ clock.Clock = (*Clock)(nil)

// NewClock returns a clock at a fixed time.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC), timers: make(map[*timer]struct{})}
}

// Now implements clock.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements clock.Clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{clock: c, at: c.now.Add(d), f: f}
	c.timers[t] = struct{}{}
	return t
}

// Stop implements clock.Timer.
func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, pending := t.clock.timers[t]
	delete(t.clock.timers, t)
	return pending
}

// Advance moves the clock and runs what falls due, in order of time.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	for {
		var next *timer
		for t := range c.timers {
			if !t.at.After(end) && (next == nil || t.at.Before(next.at)) {
				next = t
			}
		}
		if next == nil {
			break
		}
		delete(c.timers, next)
		if next.at.After(c.now) {
			c.now = next.at
		}
		c.mu.Unlock()
		next.f()
		c.mu.Lock()
	}
	c.now = end
	c.mu.Unlock()
}

// Set sets the clock to t without running timers, as when the clock of a
// machine is corrected. What pends is due as much later as it was before.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pending := range c.timers {
		pending.at = pending.at.Add(t.Sub(c.now))
	}
	c.now = t
}

// Ahead returns c as a machine shows it whose clock is ahead by so much, or
// behind.
func (c *Clock) Ahead(by time.Duration) clock.Clock { return ahead{c, by} }

type ahead struct {
	*Clock
	by time.Duration
}

// Now implements clock.Clock.
func (a ahead) Now() time.Time { return a.Clock.Now().Add(a.by) }
