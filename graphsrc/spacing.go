package graphsrc

import (
	"time"

	"ucwagate/graphsrc/budget"
)

// A request that a lane sends costs a token, however many ids it holds. While
// tokens are plenty, saving them gains nothing; when they are scarce, each one
// spent on a thin batch is one that somebody else waits for. So the less there is
// in the bucket, the further apart the requests of a lane leave:
//
//	bucket    at least half full   a quarter full      empty
//	spacing   the window           a token's time      twice a token's time
//	patience  none                 two tokens' time    four times a token's time
//
// A token's time is how long one takes to flow in; a lane with endless demand thus
// keeps the bucket a quarter full by itself, and has half of what flows in when
// others want the rest. It is a distance from the request before, not a delay: a
// lone id leaves at once at any level, and the longest wait is the spacing.

const (
	// maxSpacing bounds it where tokens come very slowly.
	maxSpacing = 500 * time.Millisecond
	// hurry is the part of the time before the earliest deadline that may be
	// spent on gathering.
	hurry = 4
)

// gauge is a budget that tells how much there is; see budget.Budget.Spare.
type gauge interface {
	Spare() (filled float64, perToken time.Duration)
}

// pace is how requests are to leave at present.
type pace struct {
	// spacing is how far apart those of a lane are. It is the window at least, in
	// which what a client asks for in one go comes in.
	spacing time.Duration
	// patience is how long people to be refreshed wait for a request of another
	// lane that takes them along. Nobody misses that time, and a token is saved
	// that somebody would have waited for.
	patience time.Duration
}

func (c *coalescer) pace() pace {
	g, ok := c.permits.(gauge)
	if !ok {
		return pace{spacing: c.window}
	}
	filled, perToken := g.Spare()
	wanted := min(2*(1-2*filled)*float64(perToken), float64(maxSpacing))
	return pace{
		spacing:  max(c.window, time.Duration(wanted)),
		patience: max(0, time.Duration(min(2*wanted, float64(maxSpacing)))),
	}
}

// gathering is how long ids are still to gather in a lane. The caller holds mu.
func (c *coalescer) gathering(ln budget.Lane, p pace) time.Duration {
	l := &c.lanes[ln]
	now := c.clk.Now()
	wait := p.spacing - now.Sub(l.left)
	if l.left.IsZero() || l.live >= maxBatch {
		wait = 0
	}
	limit := p.spacing // a clock may have been set back
	if ln == budget.Refresh && l.live < 2*maxBatch {
		// A batch that travels with somebody else leaves a few behind, who then
		// travel with the next.
		wait = max(wait, p.patience-now.Sub(l.since))
		limit = max(limit, p.patience)
	}
	if !l.soonest.IsZero() {
		wait = min(wait, l.soonest.Sub(now)/hurry)
	}
	return min(wait, limit)
}
