package budget

import (
	"context"
	"time"
)

const (
	// minPace and maxPace bound how often a replica asks again for tokens that
	// were not there.
	minPace = 40 * time.Millisecond
	maxPace = 100 * time.Millisecond
	// aheadFor is how long what is leased ahead of need lasts.
	aheadFor = 100 * time.Millisecond
	// maxBackoff bounds the wait after an ask that failed.
	maxBackoff = time.Second
	minBackoff = 50 * time.Millisecond
)

// pace is how long to wait for tokens that were not there: until there is one,
// but not so short that every token costs a trip, nor so long that those who wait
// would notice it next to their place in the queue, or the bucket run over.
func (s *sharing) pace(g Grant) int64 {
	k := int64(max(g.Wanting, 1))
	flow := max(g.Flow, 1)
	pace := int64(s.budget.order.total()) * (unit / 10) / max(flow/k, 1)
	pace = min(max(pace, int64(minPace)), int64(maxPace))
	pace = min(pace, max(s.share.Capacity*(unit/4)/flow, int64(time.Millisecond)))
	return min(max(pace, int64(g.Wait)), int64(s.terms.Renew))
}

// plan starts the next ask if it is due, and sets the timer for it if not.
func (s *sharing) plan(now int64) {
	if s.calling || s.budget.closed {
		s.stop()
		return
	}
	at := s.nextAsk(now)
	if at <= now {
		s.stop()
		s.ask(now)
		return
	}
	if s.timer != nil && at == s.timerAt {
		return
	}
	s.stop()
	s.timerAt = at
	id := s.timerID
	s.timer = s.budget.clock.AfterFunc(time.Duration(at-now), func() { s.wake(id) })
}

func (s *sharing) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.timerID++
}

func (s *sharing) wake(id uint64) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if id != s.timerID {
		return
	}
	s.timer = nil
	b.dispatch(b.settle())
}

// nextAsk returns when to ask next.
func (s *sharing) nextAsk(now int64) int64 {
	b := s.budget
	if s.seq == 0 {
		return now
	}
	if s.failures > 0 {
		return s.wantAt
	}
	if s.again || s.throttle.pending {
		return now
	}
	stock := b.bucket.level / unit
	unsent := stock + b.bucket.held
	at := s.asked + int64(s.terms.Renew)
	if unsent > 0 || s.reported > 0 {
		at = s.asked + int64(s.terms.Renew/4)
	}
	if !b.order.empty() {
		if (s.reported-unsent)*4 >= s.share.Capacity {
			return now // what was sent may leave no room in the shared bucket until it hears of it
		}
		next := s.wantAt
		if lane, byShare := b.order.next(); lane == Refresh && !byShare {
			next = s.spareAt
		}
		at = min(at, max(next, b.bucket.pausedUntil))
	}
	if stock*2 < s.ahead {
		at = min(at, max(s.spareAt, b.bucket.pausedUntil))
	}
	return at
}

// ask sends what there is to say and to ask.
func (s *sharing) ask(now int64) {
	b := s.budget
	s.measure(now)
	ask := Ask{Member: s.member, Heard: s.heard, Charged: s.owed, Share: s.share}
	if s.state == Shared {
		want, spare := s.wants()
		stock := b.bucket.level / unit
		if want == 0 {
			ask.Returned = max(stock-s.ahead, 0)
			b.bucket.level -= ask.Returned * unit
			stock -= ask.Returned
		}
		ask.Want, ask.Spare = want, spare+max(s.ahead-stock, 0)
		ask.Holding = stock + b.bucket.held
	} else {
		ask.Want, ask.Spare = s.wants()
	}
	if s.throttle.pending {
		ask.Throttled = true
		ask.Pause = time.Duration(max(s.throttle.until-now, 0))
		ask.Age = time.Duration(now - s.throttle.sentAt)
	}
	ask.Paused = time.Duration(max(b.bucket.pausedUntil-now, 0))
	if b.bucket.rate < b.bucket.plan {
		ask.Slowed = s.share.Rate * b.bucket.rate / b.bucket.plan
	}
	s.seq++
	ask.Seq = s.seq
	s.asked, s.calling = now, true
	s.done = make(chan struct{})
	go s.call(ask, s.now(), s.throttle, s.done)
}

// call carries one ask out, without the lock.
func (s *sharing) call(ask Ask, sent moment, told report, done chan struct{}) {
	defer close(done)
	g, err := s.lease(s.ctx, ask)
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.answered(sent, ask, told, g, err)
}

func (s *sharing) lease(ctx context.Context, ask Ask) (Grant, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.budget.clock.AfterFunc(s.terms.Timeout, cancel).Stop()
	return s.lessor.Lease(ctx, ask)
}

// measure estimates how many tokens are used per second, and how many to have in
// stock for it.
func (s *sharing) measure(now int64) {
	k := &s.budget.bucket
	elapsed := time.Duration(now - s.asked).Seconds()
	if s.state != Shared || elapsed <= 0 || now < k.pausedUntil {
		s.demand, s.ahead = 0, 0
		return
	}
	spent := float64(max(s.reported-k.level/unit-k.held, 0))
	s.demand += min(elapsed/0.2, 1) * (spent/elapsed - s.demand)
	if s.ahead = min(int64(s.demand*aheadFor.Seconds()), s.batch()); s.ahead < 2 {
		s.ahead = 0 // hardly anybody: a trip for each is no loss
	}
}

// batch is the most tokens to ask for at once.
func (s *sharing) batch() int64 {
	batch := max(s.last.Flow*int64(maxPace/time.Millisecond)/1_000_000, 4)
	return min(batch, max(s.share.Capacity/2, 1))
}

// wants returns how many tokens the queue can use, up to a batch, those apart
// that are for Refresh and may only come from above the reserve.
func (s *sharing) wants() (want, spare int64) {
	o := s.budget.order
	for most := s.batch(); want+spare < most && !o.empty(); {
		if lane, byShare := o.take(); lane == Refresh && !byShare {
			spare++
		} else {
			want++
		}
	}
	return want, spare
}
