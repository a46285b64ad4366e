// Package parking is the P-GET that waits in an engine of gateway.Store: a
// channel with room for one wake, and at most one pending timer.
//
// It must never know sessions, nor who it is that waits.
package parking

import (
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// Waiter is a P-GET that waits. It is safe for concurrent use.
type Waiter struct {
	clock clock.Clock
	ready chan struct{}

	mu    sync.Mutex
	timer clock.Timer
	turn  uint64 // of the pending timer
	// fires is when the pending timer wakes: the sooner of what Until asked for
	// and of what By said since the last wake. The word of By must outlive an
	// Until that was computed before it was spoken.
	fires, said time.Time
	closed      bool
}

// New returns a waiter that lives by clk.
func New(clk clock.Clock) Waiter { return Waiter{clock: clk, ready: make(chan struct{}, 1)} }

// Wake has room for one value; a value says: look again.
func (w *Waiter) Wake() <-chan struct{} { return w.ready }

// Until asks for a wake at t at the latest; an earlier call is forgotten, what
// By said is not.
func (w *Waiter) Until(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.said.IsZero() && w.said.Before(t) {
		t = w.said
	}
	w.arm(t)
}

// By sees to a wake at t at the latest, besides the one asked for.
func (w *Waiter) By(t, now time.Time) {
	if !t.After(now) {
		w.Signal()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said.IsZero() || t.Before(w.said) {
		w.said = t
	}
	if w.timer == nil || t.Before(w.fires) {
		w.arm(t)
	}
}

// Signal leaves a wake in the channel, if there is none yet.
func (w *Waiter) Signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Stop ends the waiter's timer for good. It reports whether it was the first
// call.
func (w *Waiter) Stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.closed
	w.closed = true
	w.disarm()
	return first
}

// arm makes t the time of the one timer. The caller holds mu.
func (w *Waiter) arm(t time.Time) {
	if w.closed || w.timer != nil && w.fires.Equal(t) {
		return
	}
	w.disarm()
	wait := t.Sub(w.clock.Now())
	if wait <= 0 {
		w.said = time.Time{}
		w.Signal()
		return
	}
	w.fires = t
	turn := w.turn
	w.timer = w.clock.AfterFunc(wait, func() { w.fire(turn) })
}

func (w *Waiter) disarm() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.turn++
}

func (w *Waiter) fire(turn uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if turn != w.turn {
		return // stopped too late: another timer took its place
	}
	w.timer, w.said = nil, time.Time{}
	w.Signal()
}
