package budget

import (
	"math"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// unit is one token in the bucket's integers. Rates are thousandths of a
	// token per second, which is the same number in units per nanosecond:
	// refilling is one exact multiplication.
	unit = 1_000_000_000_000
	// maxTokens keeps forecasts below the range of int64.
	maxTokens = 4_000_000
	// recoverySteps is the number of quiet windows in which the rate climbs
	// from zero to the plan; 1/recoverySteps of the plan is also its floor.
	recoverySteps = 10

	never = math.MaxInt64
)

// timeline turns a clock, which may be set back or jump ahead, into nanoseconds
// that only grow.
type timeline struct {
	clock clock.Clock
	seen  time.Time // the clock's last reading
	ns    int64
}

// maxJump bounds one step of the timeline, for the sake of the integers. Any
// bucket and any pause is long over by then.
const maxJump = 24 * time.Hour

// now advances the timeline by what the clock says has passed. A clock set back
// adds nothing, and is followed from its new reading on.
func (t *timeline) now() int64 {
	reading := t.clock.Now()
	if passed := reading.Sub(t.seen); passed > 0 {
		t.ns += int64(min(passed, maxJump))
	}
	t.seen = reading
	return t.ns
}

// at places a clock time on the timeline, as of the last reading.
func (t *timeline) at(when time.Time) int64 {
	d := int64(when.Sub(t.seen))
	if d > never-t.ns {
		return never
	}
	return t.ns + d
}

// bucket is the token bucket alone: no queue, no lock. Times are nanoseconds of
// a timeline.
type bucket struct {
	capacity int64 // tokens
	level    int64 // units; below zero while silent repetitions are paid back
	held     int64 // tokens granted and not yet sent

	rate        int64 // units per nanosecond, at most plan
	plan        int64
	step, floor int64

	filled      int64 // until when refilling is done
	pausedUntil int64 // nothing flows in before
	raiseAt     int64 // when the rate rises next, if below plan
	window      int64 // how long quiet must last for a step of the rate
}

func newBucket(p Plan, now int64) bucket {
	rate := int64(math.Floor(p.Rate * 1000))
	part := max(rate/recoverySteps, 1)
	return bucket{
		capacity: int64(p.Capacity),
		rate:     rate, plan: rate, step: part, floor: part,
		filled: now, window: int64(p.Window),
	}
}

// refill pours in what is due until now, piece by piece where the rate changes
// in between: a new rate never counts for time before it.
func (b *bucket) refill(now int64) {
	if b.filled < b.pausedUntil {
		b.filled = min(now, b.pausedUntil)
	}
	for b.rate < b.plan && b.raiseAt <= now {
		b.pour(b.raiseAt - b.filled)
		b.filled = b.raiseAt
		b.rate = min(b.rate+b.step, b.plan)
		b.raiseAt += b.window
	}
	b.pour(now - b.filled)
	b.filled = now
}

func (b *bucket) pour(ns int64) {
	room := (b.capacity-b.held)*unit - b.level
	if room <= 0 {
		return
	}
	if ns > room/b.rate { // also keeps the product in range
		b.level += room
		return
	}
	b.level += ns * b.rate
}

// has reports whether so many tokens are in the bucket.
func (b *bucket) has(tokens int64) bool { return b.level >= tokens*unit }

// grant moves a token from the level to the held.
func (b *bucket) grant() {
	b.level -= unit
	b.held++
}

// putBack undoes a grant.
func (b *bucket) putBack() {
	b.level += unit
	b.held--
}

// eta returns when so many more tokens will have been available in all, at the
// earliest, as of the last refill: steps of the rate included, the room that
// held tokens take up ignored.
func (b *bucket) eta(tokens int64) int64 {
	at := max(b.filled, b.pausedUntil)
	missing := min(tokens, maxTokens)*unit - b.level
	if missing <= 0 {
		return at
	}
	rate, raiseAt := b.rate, b.raiseAt
	for rate < b.plan {
		span := raiseAt - at
		if ceilDiv(missing, rate) <= span {
			break
		}
		missing -= span * rate
		at = raiseAt
		rate = min(rate+b.step, b.plan)
		raiseAt += b.window
	}
	return at + ceilDiv(missing, rate)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// shut closes the tap until the given time, empties the bucket and starts the
// wait for quiet anew. A debt stays.
func (b *bucket) shut(until int64) {
	b.pausedUntil = max(b.pausedUntil, until)
	b.raiseAt = b.pausedUntil + b.window
	b.level = min(b.level, 0)
}

// cut halves the rate.
func (b *bucket) cut() { b.rate = max(b.rate/2, b.floor) }
