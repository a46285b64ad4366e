package budget

import "time"

// Stats is a snapshot of a budget.
type Stats struct {
	// Tokens is what is in the bucket. It is below zero while sends that
	// net/http repeated by itself are paid back.
	Tokens float64
	// Held is the number of permits granted, but not sent or returned.
	Held int
	// Rate is the current refill in tokens per second, PlanRate the planned one.
	Rate, PlanRate float64
	// PausedFor is how long the tap stays closed, 0 if it is open.
	PausedFor time.Duration
	// Waiting and Sent are numbers of callers and of physical sends by lane.
	Waiting [LaneCount]int
	Sent    [LaneCount]uint64
	// Resent is how many of the sent were repeated silently by net/http.
	Resent uint64
	// Throttled is the number of throttling answers.
	Throttled uint64
	// WorstWindow is the most sends there ever were in any window, both its ends
	// included; InWindow is the number in the window that ends now, and
	// Remaining what the plan's share of the limit leaves above that.
	WorstWindow, InWindow, Remaining int
}

// Stats returns the present numbers.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	inWindow := b.window.count(now)
	return Stats{
		Tokens:      float64(b.bucket.level) / unit,
		Held:        int(b.bucket.held),
		Rate:        b.currentRate(),
		PlanRate:    float64(b.bucket.plan) / 1000,
		PausedFor:   time.Duration(max(b.bucket.pausedUntil-now, 0)),
		Waiting:     b.order.waiting,
		Sent:        b.sent,
		Resent:      b.resent,
		Throttled:   b.throttled,
		WorstWindow: b.window.worst,
		InWindow:    inWindow,
		Remaining:   b.plan.Limit - b.plan.OtherPrograms - inWindow,
	}
}

// currentRate is the refill in tokens per second.
func (b *Budget) currentRate() float64 { return float64(b.bucket.rate) / 1000 }
