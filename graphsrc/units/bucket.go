package units

import (
	"math"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/clock"
)

// Size is a class of tenants, which decides over the limit.
type Size int

// The sizes. Small is also right for a tenant of unknown size.
const (
	Small  Size = iota // below 50 users
	Medium             // 50 to 500 users
	Large              // above 500 users
)

// SizeOf is the size of a tenant with so many users.
func SizeOf(users int) Size {
	switch {
	case users < 50:
		return Small
	case users <= 500:
		return Medium
	default:
		return Large
	}
}

// Limit is the number of units the identity service admits in any Window.
func (s Size) Limit() int {
	switch s {
	case Large:
		return 8_000
	case Medium:
		return 5_000
	default:
		return 3_500
	}
}

// Window is the length of the window in which units are counted.
const Window = 10 * time.Second

const (
	// unit is one resource unit in the bucket's integers: rates are thousandths
	// of a unit per second, which is the same number in these per nanosecond, so
	// that refilling is exact.
	unit = 1_000_000_000_000
	// ours is the part of the limit that is used, in percent: the service
	// describes itself as throttling earlier under load.
	ours = 95
	// burst is the part of the limit, as a divisor, that may leave at once.
	burst = 10
	// steps is in how many quiet windows the rate climbs from zero to the plan.
	steps = 10
	// maxJump bounds one step of the clock, for the sake of the integers.
	maxJump = 24 * time.Hour
)

// bucket is the bucket of units alone: no queue, no lock.
type bucket struct {
	clk    clock.Clock
	read   time.Time // the clock's last reading
	now    int64     // nanoseconds, which only grow
	filled int64

	capacity int64 // units
	level    int64 // in unit; below zero while something is paid afterwards
	held     int64 // units granted and not sent

	rate, plan  int64 // in unit per nanosecond
	pausedUntil int64
	raiseAt     int64 // when the rate rises next, if below plan

	window window
}

func newBucket(size Size, clk clock.Clock) bucket {
	limit := float64(size.Limit()) * ours / 100
	capacity := int64(size.Limit() / burst)
	rate := int64((limit - float64(capacity)) / (Window + budget.LatencyMargin).Seconds() * 1000)
	return bucket{clk: clk, read: clk.Now(), capacity: capacity, rate: rate, plan: rate}
}

// settle brings the bucket to the present. A clock set back adds nothing.
func (b *bucket) settle() {
	reading := b.clk.Now()
	if passed := reading.Sub(b.read); passed > 0 {
		b.now += int64(min(passed, maxJump))
	}
	b.read = reading
	if b.filled < b.pausedUntil {
		b.filled = min(b.now, b.pausedUntil)
	}
	for b.rate < b.plan && b.raiseAt <= b.now {
		b.pour(b.raiseAt - b.filled)
		b.filled = b.raiseAt
		b.rate = min(b.rate+b.plan/steps+1, b.plan)
		b.raiseAt += int64(Window)
	}
	b.pour(b.now - b.filled)
	b.filled = b.now
}

func (b *bucket) pour(ns int64) {
	room := (b.capacity-b.held)*unit - b.level
	switch {
	case room <= 0:
	case ns > room/b.rate: // also keeps the product in range
		b.level += room
	default:
		b.level += ns * b.rate
	}
}

func (b *bucket) has(units int64) bool { return b.level >= units*unit && b.now >= b.pausedUntil }

func (b *bucket) grant(units int64) {
	b.level -= units * unit
	b.held += units
}

// send takes units out of the held.
func (b *bucket) send(units int64) {
	b.held -= units
	b.window.add(b.now, int(units))
}

// putBack undoes a grant.
func (b *bucket) putBack(units int64) {
	b.held -= units
	b.level += units * unit
}

// charge pays afterwards.
func (b *bucket) charge(units int64) {
	b.level -= units * unit
	b.window.add(b.now, int(units))
}

// eta is when so many units will have been available in all, at the present rate
// or a better one.
func (b *bucket) eta(units int64) int64 {
	at := max(b.now, b.pausedUntil)
	if missing := units*unit - b.level; missing > 0 {
		at += (missing + b.rate - 1) / b.rate
	}
	return at
}

// floor is the least rate.
func (b *bucket) floor() int64 { return max(b.plan/steps, 1) }

// slow lowers the rate to a part of what was used in the last window, and keeps
// what may leave at once to a second of it.
func (b *bucket) slow(part float64) {
	used := int64(float64(b.window.sum(b.now)) * 1000 / Window.Seconds())
	b.rate = min(b.rate, max(int64(float64(used)*part), b.floor()))
	b.level = min(b.level, b.rate*int64(time.Second))
	b.raiseAt = max(b.now, b.pausedUntil) + int64(Window)
}

// shut stops the flow until a time and empties the bucket; a debt stays.
func (b *bucket) shut(until int64) {
	b.pausedUntil = max(b.pausedUntil, until)
	b.raiseAt = b.pausedUntil + int64(Window)
	b.level = min(b.level, 0)
}

func (b *bucket) halve() { b.rate = max(b.rate/2, b.floor()) }

// after turns a duration from now, which may be very long, into a time.
func (b *bucket) after(d time.Duration) int64 {
	if int64(d) > math.MaxInt64-b.now {
		return math.MaxInt64
	}
	return b.now + int64(d)
}

// window adds up what left in the last Window, both ends included, and
// remembers the most there ever was.
type window struct {
	sends []sent
	head  int
	units int
	worst int
}

type sent struct {
	at    int64
	units int
}

func (w *window) add(now int64, units int) {
	w.trim(now)
	w.sends = append(w.sends, sent{now, units})
	w.units += units
	w.worst = max(w.worst, w.units)
}

func (w *window) sum(now int64) int {
	w.trim(now)
	return w.units
}

func (w *window) trim(now int64) {
	for w.head < len(w.sends) && now-w.sends[w.head].at > int64(Window) {
		w.units -= w.sends[w.head].units
		w.head++
	}
	if w.head > len(w.sends)/2 {
		w.sends = w.sends[:copy(w.sends, w.sends[w.head:])]
		w.head = 0
	}
}
