package budget

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxJitter is the most a pause is prolonged by at random, so that several
	// programs throttled together do not come back together.
	maxJitter = time.Second
	// minPause and maxPause bound a stated pause. Zero seconds right after a
	// throttling answer would be hammering; a day would be a slip of the server
	// (the longest wait seen from Graph is 315 s).
	minPause = time.Second
	maxPause = time.Hour
)

// Throttled closes the tap for all lanes, because the service said that it has
// had enough: for retryAfter, rounded up to whole seconds and bounded to
// between a second and an hour, if the service stated one; for half a window if
// not. Up to a second of jitter is added. A pause is only ever prolonged.
//
// The rate is halved, once per pause however often the service repeats itself.
// Transport calls this by itself; others may if they learn of throttling by
// another way.
func (b *Budget) Throttled(retryAfter time.Duration, stated bool) {
	b.throttle(retryAfter, stated, -1)
}

// throttle is Throttled for an answer to a request sent at the given time, or
// with sentAt below zero for one of unknown age. An answer to a request that
// left before the last halving is an echo of what caused it, even if it comes
// after the pause: it pauses, but does not halve again.
func (b *Budget) throttle(retryAfter time.Duration, stated bool, sentAt int64) {
	pause := b.plan.Window / 2
	if stated {
		pause = min(max(retryAfter, minPause), maxPause)
		pause = (pause + time.Second - 1).Truncate(time.Second)
	}
	pause += time.Duration(min(max(b.jitter(), 0), 1) * float64(maxJitter))

	b.mu.Lock()
	now := b.settle()
	b.throttled++
	paused := now < b.bucket.pausedUntil
	cut := !paused && (sentAt < 0 || sentAt > b.lastCut)
	if cut {
		b.bucket.cut()
		b.lastCut = now
	}
	b.dropHeld()
	b.bucket.shut(now + int64(pause))
	if b.sharing != nil {
		b.sharing.throttled(now, int64(pause), sentAt)
	}
	b.refuseHopeless(now)
	b.arm(now)
	rate, left := b.currentRate(), time.Duration(b.bucket.pausedUntil-now)
	b.mu.Unlock()

	if !paused { // one line per pause
		b.log.Warn("throttled by the service: sending paused",
			"pause", left, "retry_after_stated", stated, "rate", rate, "planned_rate", b.plan.Rate)
	}
}

// refuseHopeless tells those waiters whose deadline a new pause has put out of
// reach.
func (b *Budget) refuseHopeless(now int64) {
	// Whoever is refused was in the queue until then, and made a lower lane's turn
	// one by its share, which needs no reserve. Without them it may need one and
	// come later, so those who are left are looked at again.
	for b.refuseOnce(now) {
	}
}

// refuseOnce plays the queue through, skipping whom it refuses, and reports
// whether it has refused anybody.
func (b *Budget) refuseOnce(now int64) (refused bool) {
	var walks [LaneCount]walk
	for lane := range b.queues {
		walks[lane] = b.queues[lane].begin()
	}
	o := b.order
	for grants := int64(0); !o.empty(); {
		lane, byShare := o.next()
		p := walks[lane].permit()
		tokens := grants + 1
		if !byShare {
			tokens += b.reserve(lane)
		}
		if at := b.eta(tokens); at >= p.deadline {
			walks[lane].skip()
			b.refuse(p, exhausted(lane, at-now))
			o.waiting[lane]--
			refused = true
			continue
		}
		o.take()
		walks[lane].serve()
		grants++
	}
	return refused
}

// ParseRetryAfter reads the Retry-After of an answer's header: whole or
// fractional seconds, or an HTTP date, which is taken relative to the answer's
// own Date if it has one (the server's clock may differ from ours) and to now if
// not. The result is at most an hour. It reports false if the header is
// missing, makes no sense, or names a date that is not in the future: such a date
// contradicts the answer it came with.
func ParseRetryAfter(h http.Header, now time.Time) (after time.Duration, stated bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if isDecimal(value) {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || seconds >= maxPause.Seconds() { // the error can only be one of range
			return maxPause, true
		}
		return time.Duration(math.Round(seconds * float64(time.Second))), true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	if after = date.Sub(now); after <= 0 {
		return 0, false
	}
	return min(after, maxPause), true
}

// isDecimal reports whether s is made of digits with at most one point among or
// before them: strconv alone would also take signs, exponents, hex and "Inf".
func isDecimal(s string) bool {
	digits, points := 0, 0
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}
