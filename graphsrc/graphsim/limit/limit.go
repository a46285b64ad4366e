// Package limit counts requests the way a throttling service does: a gate
// that admits so many in a window, in one of three models, and a meter that
// remembers the busiest window there was.
//
// It must never know what is being counted.
package limit

import (
	"fmt"
	"math"
	"time"
)

// Model is how a service measures its window.
type Model string

// The models Graph might use; the documentation does not say which it is.
const (
	// Sliding counts the requests of the last Window at every request.
	Sliding Model = "sliding"
	// Fixed counts from one multiple of Window to the next.
	Fixed Model = "fixed"
	// Bucket holds Requests tokens, refilled evenly within Window.
	Bucket Model = "bucket"
)

// Rule is a limit. A request that is refused counts like one that is served,
// except in the bucket model, which has nothing left to take.
type Rule struct {
	Requests int
	Window   time.Duration
	Model    Model
}

// Validate reports what is wrong with the rule.
func (r Rule) Validate() error {
	switch {
	case r.Requests < 1:
		return fmt.Errorf("limit: %d requests: at least 1", r.Requests)
	case r.Window <= 0:
		return fmt.Errorf("limit: window %v: must be positive", r.Window)
	}
	switch r.Model {
	case Sliding, Fixed, Bucket:
		return nil
	}
	return fmt.Errorf("limit: model %q: must be %s, %s or %s", r.Model, Sliding, Fixed, Bucket)
}

// Gate admits or refuses requests under a rule. It is not safe for
// concurrent use.
type Gate struct {
	rule   Rule
	recent window
	// The fixed model counts in used since begin, the bucket model has tokens
	// at begin.
	begin  time.Time
	used   int
	tokens float64
}

// NewGate makes a gate through which nothing has passed yet.
func NewGate(rule Rule) *Gate {
	return &Gate{rule: rule, tokens: float64(rule.Requests), recent: window{span: rule.Window}}
}

// Pass counts a request at now, which must not go back, and reports whether
// it is admitted. If not, retry is how long a request must wait at least.
func (g *Gate) Pass(now time.Time) (admitted bool, retry time.Duration) {
	switch g.rule.Model {
	case Fixed:
		if begin := now.Truncate(g.rule.Window); !begin.Equal(g.begin) {
			g.begin, g.used = begin, 0
		}
		g.used++
		return g.used <= g.rule.Requests, g.begin.Add(g.rule.Window).Sub(now)
	case Bucket:
		rate := float64(g.rule.Requests) / g.rule.Window.Seconds()
		if !g.begin.IsZero() {
			g.tokens = min(float64(g.rule.Requests), g.tokens+rate*now.Sub(g.begin).Seconds())
		}
		g.begin = now
		if g.tokens < 1 {
			return false, time.Duration(math.Ceil((1 - g.tokens) / rate * float64(time.Second)))
		}
		g.tokens--
		return true, 0
	default:
		count := g.recent.add(now)
		if count <= g.rule.Requests {
			return true, 0
		}
		return false, g.recent.at(count - g.rule.Requests).Add(g.rule.Window).Sub(now)
	}
}

// Meter finds the most events in any window of a span. It is not safe for
// concurrent use.
type Meter struct {
	recent window
	worst  int
}

// NewMeter makes a meter for windows that contain their begin, not their end.
func NewMeter(span time.Duration) *Meter { return &Meter{recent: window{span: span}} }

// Add counts an event at now, which must not go back.
func (m *Meter) Add(now time.Time) { m.worst = max(m.worst, m.recent.add(now)) }

// Worst is the most events in any window so far.
func (m *Meter) Worst() int { return m.worst }

// window is a queue of the instants within the last span.
type window struct {
	span  time.Duration
	times []time.Time
	head  int
}

// add appends now, forgets what is a span or more ago and returns how many
// instants are left.
func (w *window) add(now time.Time) int {
	for w.head < len(w.times) && now.Sub(w.times[w.head]) >= w.span {
		w.head++
	}
	// Moving the queue only when half of it is dead keeps the cost constant.
	if w.head > 64 && w.head*2 > len(w.times) {
		w.times = append(w.times[:0], w.times[w.head:]...)
		w.head = 0
	}
	w.times = append(w.times, now)
	return len(w.times) - w.head
}

// at is the n-th instant still within the window, counted from 0.
func (w *window) at(n int) time.Time { return w.times[w.head+n] }
