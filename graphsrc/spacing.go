package graphsrc

import "time"

// A request that a lane sends costs a token, however many ids it holds. While
// tokens are plenty, saving them gains nothing; when they are scarce, each one
// spent on a thin batch is one that somebody else waits for. So the less there is
// in the bucket, the further apart the requests of a lane leave:
//
//	bucket    at least half full   a quarter full      empty
//	spacing   the window           a token's time      twice a token's time
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

// spacing is how far apart the requests of a lane are to leave at present. It is
// the window at least, in which what a client asks for in one go comes in.
func (c *coalescer) spacing() time.Duration {
	g, ok := c.permits.(gauge)
	if !ok {
		return c.window
	}
	filled, perToken := g.Spare()
	wanted := 2 * (1 - 2*filled) * float64(perToken)
	return max(c.window, time.Duration(min(wanted, float64(maxSpacing))))
}

// gathering is how long ids are still to gather in a lane. The caller holds mu.
func (c *coalescer) gathering(l *lane, spacing time.Duration) time.Duration {
	if l.live >= maxBatch || l.left.IsZero() {
		return 0
	}
	now := c.clk.Now()
	wait := spacing - now.Sub(l.left)
	if !l.soonest.IsZero() {
		wait = min(wait, l.soonest.Sub(now)/hurry)
	}
	return min(wait, spacing) // a clock may have been set back
}
