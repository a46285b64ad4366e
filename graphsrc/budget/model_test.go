package budget

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestEveryStepKeepsTheRules does random things to a budget, one after the other,
// with a clock that is set back and ahead, and looks into it after each.
func TestEveryStepKeepsTheRules(t *testing.T) {
	outer := t
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			what:   rapid.SampledFrom([]string{"acquire", "acquire", "acquire", "spend", "spend", "return", "cancel", "charge", "pass", "pass", "jump", "throttle"}).Draw(t, "what"),
			which:  rapid.IntRange(0, 1000).Draw(t, "which"),
			amount: time.Duration(rapid.IntRange(0, 8000).Draw(t, "amount")) * time.Millisecond,
		}
	})
	// Left to itself rapid prefers slices too short to fill a bucket.
	steps := rapid.OneOf(rapid.SliceOfN(one, 1, 20), rapid.SliceOfN(one, 200, 300))
	used := 0
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultPlan()
		p.Capacity = rapid.SampledFrom([]int{1, 5, 30, 100}).Draw(t, "capacity")
		p.Rate = rapid.SampledFrom([]float64{0.3, 7.7, 45}).Draw(t, "rate")
		todo := steps.Draw(t, "steps")
		var err error
		synctest.Test(outer, func(*testing.T) {
			m := &model{clock: new(jumpyClock)}
			if m.budget, err = New(Options{Plan: p, Clock: m.clock, Jitter: func() float64 { return 0.5 }}); err != nil {
				return
			}
			for i, s := range todo {
				m.do(s)
				synctest.Wait()
				if err = m.check(); err != nil {
					err = fmt.Errorf("after step %d, %s: %w", i, s.what, err)
					break
				}
			}
			used += m.used
			m.budget.Close()
			for _, cancel := range m.cancels {
				cancel()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d permits were used", used)
}

type step struct {
	what   string
	which  int
	amount time.Duration
}

type model struct {
	budget  *Budget
	clock   *jumpyClock
	callers []*caller
	cancels []context.CancelFunc
	charged int64
	used    int
}

func (m *model) do(s step) {
	switch s.what {
	case "acquire":
		ctx := context.Background()
		if s.which%3 == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.amount)
			m.cancels = append(m.cancels, cancel)
		}
		ctx = WithClient(ctx, strings.Repeat("x", s.which/LaneCount%3))
		m.callers = append(m.callers, acquireAsync(ctx, m.budget, Lane(s.which%LaneCount)))
	case "charge":
		m.budget.charge(Refresh)
		m.charged++
	case "pass":
		wait(s.amount)
	case "jump":
		m.clock.jump(s.amount*100 - 400*time.Second)
	case "throttle":
		m.budget.Throttled(s.amount, s.which%2 == 0)
	case "cancel":
		if c := m.pick(s.which, false); c != nil {
			c.cancel()
		}
	case "spend", "return":
		c := m.pick(s.which, true)
		if c == nil {
			return
		}
		m.used++
		if s.what == "spend" {
			m.budget.spend(c.permit)
		} else {
			c.permit.Return()
		}
	}
}

// pick returns one of the latest who got a permit, or who still wait. A permit
// may be picked again after its use.
func (m *model) pick(which int, granted bool) *caller {
	var some []*caller
	for _, c := range m.callers {
		if c.finished() == granted && (!granted || c.err == nil) {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[len(some)-1-which%min(len(some), 5)]
}

// check looks for a broken rule.
func (m *model) check() error {
	b := m.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.bucket // as the step left it: settling here would hide a step that forgot to
	if potential := k.level + k.held*unit; potential > k.capacity*unit {
		return fmt.Errorf("level %d and %d held exceed the capacity %d", k.level, k.held, k.capacity)
	}
	if k.level < -m.charged*unit {
		return fmt.Errorf("level %d with %d charged", k.level, m.charged)
	}
	if k.rate < k.floor || k.rate > k.plan {
		return fmt.Errorf("rate %d", k.rate)
	}
	if most := float64(k.capacity) + b.plan.Rate*30 + float64(m.charged); float64(b.window.worst) > most {
		return fmt.Errorf("%d sends in a window, at most %.1f", b.window.worst, most)
	}
	held := 0
	for p := b.held.head; p != nil; p = p.next {
		if held++; p.state != permitHeld {
			return fmt.Errorf("state %d among the held", p.state)
		}
	}
	if int64(held) != k.held {
		return fmt.Errorf("%d held, %d counted", held, k.held)
	}
	for lane := range b.queues {
		n := 0
		for w := b.queues[lane].begin(); w.slot != nil; w.serve() {
			if p := w.permit(); p.state != permitWaiting || int(p.lane) != lane {
				return fmt.Errorf("state %d, lane %s in queue %d", p.state, p.lane, lane)
			}
			n++
		}
		if n != b.order.waiting[lane] || n != b.queues[lane].waiting {
			return fmt.Errorf("%d in queue %d, %d and %d counted", n, lane, b.order.waiting[lane], b.queues[lane].waiting)
		}
	}
	return m.checkTimer()
}

// checkTimer makes sure that whoever waits will be woken.
func (m *model) checkTimer() error {
	b := m.budget
	if b.order.empty() {
		if b.timer != nil {
			return fmt.Errorf("a timer for nobody")
		}
		return nil
	}
	if b.timer == nil || b.wakeAt == never {
		return fmt.Errorf("somebody waits and there is no timer")
	}
	return nil
}
