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
	// Waiting and Sent are numbers of callers and of physical sends by lane,
	// Clients of the different clients among the callers.
	Waiting [LaneCount]int
	Clients [LaneCount]int
	Sent    [LaneCount]uint64
	// Resent is how many of the sent were repeated silently by net/http.
	Resent uint64
	// Throttled is the number of throttling answers.
	Throttled uint64
	// WorstWindow is the most sends there ever were in any window, both its ends
	// included; InWindow is the number in the window that ends now, and
	// Remaining what the plan's share of the limit leaves above that.
	WorstWindow, InWindow, Remaining int
	// Sharing is what there is besides with a Lessor. Tokens and Rate are then
	// those for all replicas, as last heard, or in its fallback this one's; the
	// other numbers are of this replica alone.
	Sharing SharingStats
}

// Stats returns the present numbers.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.settle()
	inWindow := b.window.count(now)
	var clients [LaneCount]int
	for lane := range b.queues {
		clients[lane] = len(b.queues[lane].clients)
	}
	var sharing SharingStats
	if b.sharing != nil {
		sharing = b.sharing.snapshot()
	}
	return Stats{
		Tokens:      float64(b.tokens()) / unit,
		Held:        int(b.bucket.held),
		Rate:        b.currentRate(),
		PlanRate:    float64(b.bucket.plan) / 1000,
		PausedFor:   time.Duration(max(b.bucket.pausedUntil-now, 0)),
		Waiting:     b.order.waiting,
		Clients:     clients,
		Sent:        b.sent,
		Resent:      b.resent,
		Throttled:   b.throttled,
		WorstWindow: b.window.worst,
		InWindow:    inWindow,
		Remaining:   b.plan.Limit - b.plan.OtherPrograms - inWindow,
		Sharing:     sharing,
	}
}

// tokens is what there is to be had, in units: in the bucket, and in the one that
// is shared.
func (b *Budget) tokens() int64 {
	if b.sharing != nil {
		return b.bucket.level + b.sharing.known()
	}
	return b.bucket.level
}

// Spare tells how full the bucket is, from 0 to 1, and how long a token takes to
// flow in at the present rate. It is for whoever can put off a send and put more
// into it then.
func (b *Budget) Spare() (filled float64, perToken time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	filled = float64(max(b.tokens(), 0)) / float64(b.bucket.capacity*unit)
	rate := b.bucket.rate
	if b.sharing != nil && b.sharing.state == Shared {
		rate = max(b.sharing.last.Flow/int64(max(b.sharing.last.Wanting, 1)), 1)
	}
	return filled, time.Duration(ceilDiv(unit, rate))
}

// currentRate is the refill in tokens per second.
func (b *Budget) currentRate() float64 { return float64(b.bucket.rate) / 1000 }
