package budget

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// LatencyMargin is the spread between the fastest and the slowest way to the
// service that a plan must survive: the service counts arrivals, we count sends.
const LatencyMargin = time.Second

// Bounds of a plan that keep the integer arithmetic far from overflow.
const (
	maxLimit  = 1_000_000
	minRate   = 0.01
	minWindow = 100 * time.Millisecond
	maxWindow = time.Hour
)

// Plan says how much of the service's limit the budget may use.
type Plan struct {
	// Limit is the number of requests the service admits in any window, from 1
	// to 1,000,000. Graph documents 1,500 for presence.
	Limit int
	// Window is the length of that window, from 100 ms to an hour. Graph
	// documents 30 s.
	Window time.Duration
	// OtherPrograms is the number of requests per window left to other programs
	// that use the same app registration, from 0 to below Limit.
	OtherPrograms int
	// Capacity is the number of tokens the bucket holds, at least 1: the largest
	// burst after a quiet time. The service may count in finer grains than it
	// documents, which is a reason to keep it small.
	Capacity int
	// Rate is the refill in tokens per second, at least 0.01; the bucket works
	// with thousandths, rounded down.
	Rate float64
}

// DefaultPlan returns the plan for Graph's documented presence limit: at most
// 1,450 sends and, with one second of latency spread, 1,495 arrivals in any 30 s.
func DefaultPlan() Plan {
	return Plan{Limit: 1500, Window: 30 * time.Second, Capacity: 100, Rate: 45}
}

// Validate reports everything that is wrong with the plan, or nil. The heart of
// it: Capacity + Rate·(Window + LatencyMargin) must not exceed Limit - OtherPrograms.
func (p Plan) Validate() error {
	var errs []error
	if p.Limit < 1 || p.Limit > maxLimit {
		errs = append(errs, fmt.Errorf("limit %d is not between 1 and %d requests", p.Limit, maxLimit))
	}
	if p.Window < minWindow || p.Window > maxWindow {
		errs = append(errs, fmt.Errorf("window %s is not between %s and %s", p.Window, minWindow, maxWindow))
	}
	if p.OtherPrograms < 0 || p.OtherPrograms >= max(p.Limit, 1) {
		errs = append(errs, fmt.Errorf("the share of other programs, %d requests, is not between 0 and below the limit of %d", p.OtherPrograms, p.Limit))
	}
	if p.Capacity < 1 {
		errs = append(errs, fmt.Errorf("capacity %d is below one token", p.Capacity))
	}
	if math.IsNaN(p.Rate) || math.IsInf(p.Rate, 0) || p.Rate < minRate {
		errs = append(errs, fmt.Errorf("rate %v is not a number of at least %v tokens per second", p.Rate, minRate))
	}
	if len(errs) > 0 {
		return fmt.Errorf("budget plan: %w", errors.Join(errs...))
	}

	share := float64(p.Limit - p.OtherPrograms)
	span := (p.Window + LatencyMargin).Seconds()
	if worst := float64(p.Capacity) + p.Rate*span; worst > share {
		hint := "the capacity alone is too large"
		if rate := (share - float64(p.Capacity)) / span; rate >= minRate {
			hint = fmt.Sprintf("with this capacity the rate may be at most %.3f", math.Floor(rate*1000)/1000)
		}
		return fmt.Errorf("budget plan: capacity %d and rate %v let %.1f requests arrive in a window of %s with %s of latency spread, but only %.0f are ours: %s",
			p.Capacity, p.Rate, worst, p.Window, LatencyMargin, share, hint)
	}
	return nil
}
