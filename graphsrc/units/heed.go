package units

import (
	"net/http"
	"time"

	"ucwagate/graphsrc/budget"
)

const (
	// minPause and maxPause bound a stated pause, as in package budget.
	minPause = time.Second
	maxPause = time.Hour
	// slowFrom is the part of the limit from which the service warns.
	slowFrom = 0.8
	// worse is how much larger the part must be to slow down again within a window.
	worse = 0.1
)

// heed takes what an answer says of the limit. units is what the request was
// charged, leftAt when it left.
func (u *Units) heed(resp *http.Response, cost Cost, units, leftAt int64) {
	if n, stated := charged(resp.Header); stated && int64(n) > units {
		u.undercharged(cost, units, n)
	}
	if s := share(resp.Header); s >= slowFrom {
		u.nearLimit(s)
	}
	if pause, throttled := pauseOf(resp, u.clk.Now(), Window/2); throttled {
		u.throttle(resp, pause, leftAt)
	}
}

// pauseOf says how long an answer asks to wait: a 429 always, with the pause
// given if it does not state one, a 503 only if it does.
func pauseOf(resp *http.Response, now time.Time, unstated time.Duration) (pause time.Duration, throttled bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	after, stated := budget.ParseRetryAfter(resp.Header, now)
	if !stated {
		return unstated, resp.StatusCode == http.StatusTooManyRequests
	}
	after = min(max(after, minPause), maxPause)
	return (after + time.Second - 1).Truncate(time.Second), true
}

// undercharged pays what the table did not know, now and from now on. units is
// what the request was charged here, stated what it was by the service.
func (u *Units) undercharged(cost Cost, units int64, stated int) {
	more := int64(stated) - units
	u.mu.Lock()
	u.bucket.settle()
	u.bucket.charge(more)
	u.stats.Spent += uint64(more)
	u.stats.Undercharged += uint64(more)
	known := u.dearer[cost.Kind]
	u.dearer[cost.Kind] = max(known, stated-cost.Units)
	u.arm()
	u.mu.Unlock()
	if known == 0 {
		u.log.Info("a kind of request costs more resource units than the table says",
			"kind", cost.Kind, "table", cost.Units, "charged", stated)
	}
}

// nearLimit slows down when the service says how much of the limit is used:
// at 0.8 to half of what left in the last window, at the limit to a quarter,
// and never below a tenth of the plan.
func (u *Units) nearLimit(s float64) {
	u.mu.Lock()
	u.bucket.settle()
	u.stats.Share = s
	within := u.bucket.now-u.lastSlow < int64(Window)
	if within && s < u.slowedAt+worse {
		u.mu.Unlock()
		return // the answers of a window all say the same
	}
	u.lastSlow, u.slowedAt = u.bucket.now, s
	u.stats.Slowed++
	u.bucket.slow(max((1.2-s)/0.8, 0.1))
	rate, plan := float64(u.bucket.rate)/1000, float64(u.bucket.plan)/1000
	u.arm()
	u.mu.Unlock()
	if !within {
		u.log.Warn("the identity service is near its limit: slowing down", "used", s, "rate", rate, "planned_rate", plan)
	}
}

// throttle closes the bucket and halves the rate, once for each pause: the
// answer to a request that left before the last halving is an echo of it.
func (u *Units) throttle(resp *http.Response, pause time.Duration, leftAt int64) {
	pause += time.Duration(min(max(u.jitter(), 0), 1) * float64(time.Second))
	u.mu.Lock()
	u.bucket.settle()
	u.stats.Throttled++
	paused := u.bucket.now < u.bucket.pausedUntil
	if !paused && leftAt > u.lastCut {
		u.bucket.halve()
		u.lastCut = u.bucket.now
	}
	u.bucket.shut(u.bucket.now + int64(pause))
	u.refuseHopeless()
	u.arm()
	rate, left := float64(u.bucket.rate)/1000, time.Duration(u.bucket.pausedUntil-u.bucket.now)
	u.mu.Unlock()
	if !paused {
		scope, limit := scopeOf(resp.Header)
		u.log.Warn("throttled by the identity service: directory requests paused", "pause", left, "rate", rate,
			"scope", scope, "limit", limit, "reason", reasonOf(resp.Header), "request_id", word(resp.Header.Get("request-id")))
	}
}

// refuseHopeless tells those who cannot be served before their deadline any more.
func (u *Units) refuseHopeless() {
	ahead := int64(0)
	left := u.waiting[:0]
	for _, w := range u.waiting {
		if due := u.bucket.eta(ahead + w.units); due >= w.deadline {
			w.err = w.hopeless(due - u.bucket.now)
			close(w.done)
			continue
		}
		ahead += w.units
		left = append(left, w)
	}
	clear(u.waiting[len(left):])
	u.waiting = left
}
