package budget

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"ucwagate/graphsrc/clock"
)

// errLate is an answer that took so long that it may not be heeded.
var errLate = errors.New("the answer came too late")

// sharing is what a budget with a Lessor has besides: what the shared bucket
// said last, and when to ask next. In the states Shared and Waiting nothing
// pours into the budget's own bucket: its level is what is leased and not yet
// granted, in whole tokens, and everything in it and everything held becomes
// void together when the lease ends.
//
// Its fields are guarded by the budget's lock; one ask at a time is under way.
type sharing struct {
	budget *Budget
	lessor Lessor
	terms  LeaseTerms
	share  Share
	member string
	state  SharingState

	seq, heard uint64
	contact    moment // before the ask of the last answer was sent; meaningless while heard is 0
	asked      int64  // when the last ask was sent
	calling    bool
	again      bool  // the answer demands another ask at once
	failures   int   // since the last answer
	wantAt     int64 // no sooner are tokens asked for
	spareAt    int64 // nor those from above the reserve

	owed     int64 // charges to report
	throttle report
	reported int64 // what the shared bucket thinks is held here
	ahead    int64 // tokens to have in stock
	demand   float64

	last  Grant
	level int64 // units in the shared bucket when last heard
	stats SharingStats

	timer   clock.Timer // nil if none is set
	timerAt int64
	timerID uint64 // tells the timer that is due from one stopped too late

	ctx    context.Context // ends with the budget
	cancel context.CancelFunc
	done   chan struct{} // closed when the ask under way is over; nil before the first
}

// report is a throttling answer that the shared bucket must hear of.
type report struct {
	pending       bool
	until, sentAt int64
}

// moment is a time by both clocks: the timeline, and the time of day, which also
// runs on while a machine sleeps.
type moment struct {
	at   int64
	wall time.Time
}

func newSharing(b *Budget, lessor Lessor) *sharing {
	terms := lessor.Terms()
	n := int64(terms.Replicas)
	s := &sharing{
		budget: b, lessor: lessor, terms: terms, member: rand.Text(), state: Waiting,
		share: Share{
			Capacity: b.bucket.capacity, Rate: b.bucket.plan,
			OwnCapacity: b.bucket.capacity / n, OwnRate: b.bucket.plan / n,
			Window: b.plan.Window,
		},
		last: Grant{Flow: b.bucket.plan, Rate: b.bucket.plan, Wanting: 1},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// now returns the present, as of the timeline's last reading.
func (s *sharing) now() moment {
	return moment{s.budget.time.ns, s.budget.time.seen.Round(0)}
}

// silence is how long ago the last answer was asked for, by the clock that says
// less and by the one that says more. A lease and a fallback end by the latter; a
// fallback begins by the former.
func (s *sharing) silence() (least, most time.Duration) {
	now := s.now()
	least = time.Duration(now.at - s.contact.at)
	return least, max(least, now.wall.Sub(s.contact.wall))
}

// settle makes void what has ended, and moves between the states.
func (s *sharing) settle(now int64) {
	b := s.budget
	least, most := s.silence()
	switch {
	case s.heard == 0:
	case s.state == Shared && most >= s.terms.Life:
		s.void()
		s.become(Waiting)
		fallthrough
	case s.state == Waiting:
		if least >= s.terms.Fallback && most < s.terms.Stop && s.share.OwnCapacity > 0 && s.share.OwnRate > 0 {
			s.fallBack(now)
		}
	case s.state == Fallback && most >= s.terms.Stop:
		s.leaveFallback(now)
		s.become(Waiting)
	}
	if s.state == Fallback {
		b.bucket.refill(now)
		return
	}
	b.bucket.filled = now
}

// void drops what is leased, granted or not.
func (s *sharing) void() {
	s.budget.dropHeld()
	s.budget.bucket.level = 0
	s.ahead = 0
}

// fallBack begins to pour the replica's own share, from nothing.
func (s *sharing) fallBack(now int64) {
	b := s.budget
	own := newBucket(b.plan, now)
	own.capacity, own.plan = s.share.OwnCapacity, s.share.OwnRate
	own.step = max(own.plan/recoverySteps, 1)
	own.floor = own.step
	own.rate = min(max(own.plan*b.bucket.rate/b.bucket.plan, own.floor), own.plan)
	own.raiseAt = max(b.bucket.raiseAt, now+own.window)
	own.pausedUntil = b.bucket.pausedUntil
	own.level, s.owed = -s.owed*unit, 0
	b.bucket = own
	s.become(Fallback)
}

// leaveFallback ends that. What is below zero stays owed.
func (s *sharing) leaveFallback(now int64) {
	b := s.budget
	b.dropHeld()
	if b.bucket.level < 0 {
		s.owed += ceilDiv(-b.bucket.level, unit)
	}
	all := newBucket(b.plan, now)
	all.rate = min(max(b.bucket.rate*all.plan/b.bucket.plan, all.floor), all.plan)
	all.raiseAt = b.bucket.raiseAt
	all.pausedUntil = b.bucket.pausedUntil
	b.bucket = all
}

func (s *sharing) become(state SharingState) {
	if s.state == state {
		return
	}
	log := s.budget.log
	switch {
	case state == Shared:
		log.Info("the budget is shared with the other replicas", "members", s.last.Members, "before", s.state.String())
	case state == Fallback:
		log.Warn("the shared budget is out of reach: this replica sends its own share by itself",
			"rate", float64(s.share.OwnRate)/1000, "capacity", s.share.OwnCapacity, "until_at_most", s.terms.Stop)
	default:
		log.Warn("the shared budget is out of reach: nothing is sent", "before", s.state.String())
	}
	s.state = state
}

// eta is the forecast of bucket.eta, from what the shared bucket said last and
// with an equal part of what flows into it for all replicas that wait.
func (s *sharing) eta(tokens int64) int64 {
	k := &s.budget.bucket
	at := max(k.filled, k.pausedUntil)
	missing := min(tokens, maxTokens)*unit - k.level - s.known()
	if missing <= 0 {
		return at
	}
	flow := s.last.Flow / int64(max(s.last.Wanting, 1))
	if s.state == Waiting || s.last.Flow == 0 {
		flow = s.share.OwnRate // nobody knows when more flows; this does before long
	}
	return at + ceilDiv(missing, max(flow, 1))
}

// known is what the shared bucket holds by what it said last, in units; 0 if that
// is too long ago, or it holds debts.
func (s *sharing) known() int64 {
	if s.state != Shared {
		return 0
	}
	return max(s.level, 0)
}

// reserve is the number of tokens that Refresh leaves for others.
func (s *sharing) reserve() int64 {
	if s.state == Shared {
		return s.last.Reserve
	}
	return s.budget.bucket.capacity / 10
}

// kept is what of the reserve is not in the shared bucket.
func (s *sharing) kept() int64 { return max(s.reserve()-s.known()/unit, 0) }

// charge pays for a send that happened without asking.
func (s *sharing) charge() {
	if k := &s.budget.bucket; s.state == Fallback || k.level >= unit {
		k.level -= unit
		return
	}
	s.owed++
}

// throttled notes a pause that the others must hear of.
func (s *sharing) throttled(now, pause, sentAt int64) {
	if sentAt < 0 {
		sentAt = now
	}
	if s.throttle.pending {
		sentAt = max(sentAt, s.throttle.sentAt)
	}
	s.throttle = report{pending: true, until: max(s.throttle.until, now+pause), sentAt: sentAt}
	s.level, s.ahead = 0, 0
}

// answered heeds the answer to an ask sent at the given time.
func (s *sharing) answered(sent moment, ask Ask, told report, g Grant, err error) {
	b := s.budget
	now := b.settle()
	s.calling = false
	if took := max(time.Duration(now-sent.at), s.now().wall.Sub(sent.wall)); err == nil && took >= s.terms.Timeout {
		err = errLate
	}
	if b.closed {
		return
	}
	if err != nil {
		s.fail(now, err)
	} else {
		s.heed(now, sent, ask, told, g)
	}
	b.dispatch(now)
}

func (s *sharing) fail(now int64, err error) {
	s.stats.Failed++
	if s.failures++; s.failures == 1 {
		s.budget.log.Warn("the shared budget did not answer", "error", err)
	}
	backoff := min(minBackoff<<min(s.failures-1, 10), maxBackoff)
	s.wantAt = now + int64(backoff)
	s.spareAt = s.wantAt
}

func (s *sharing) heed(now int64, sent moment, ask Ask, told report, g Grant) {
	b := s.budget
	s.stats.Trips++
	s.stats.Leased += uint64(g.Tokens)
	s.last, s.failures, s.again = g, 0, g.Again
	s.heard, s.contact = ask.Seq, sent
	s.owed -= ask.Charged
	if s.throttle == told {
		s.throttle = report{}
	}
	if s.state == Fallback {
		s.leaveFallback(now)
	}
	s.become(Shared)
	if g.Recalled {
		s.void()
	}
	s.level = g.Level * (unit / 1000)
	if b.bucket.rate = min(max(g.Rate, b.bucket.floor), b.bucket.plan); b.bucket.rate < b.bucket.plan {
		b.bucket.raiseAt = now + b.bucket.window // for a fallback only
	}
	if until := now + int64(g.PausedFor); g.PausedFor > 0 && until > b.bucket.pausedUntil {
		b.dropHeld()
		b.bucket.shut(until)
		b.refuseHopeless(now)
	}
	if now >= b.bucket.pausedUntil {
		b.bucket.level += g.Tokens * unit
	}
	s.reported = ask.Holding + g.Tokens
	s.wantAt, s.spareAt = now, now
	if pace := s.pace(g); g.Tokens < ask.Want {
		s.wantAt, s.spareAt = now+pace, now+pace
	} else if g.Tokens < ask.Want+ask.Spare {
		s.spareAt = now + pace
		if ask.Want > 1 {
			s.wantAt = now + min(pace, int64(minPace)) // many ask, and there is not much
		}
	}
}

// leave says goodbye, once the budget is closed, returning so many tokens. It
// takes as long as an ask may.
func (s *sharing) leave(unsent int64) {
	s.cancel()
	if s.done == nil {
		return
	}
	<-s.done
	s.budget.mu.Lock()
	s.seq++
	ask := Ask{
		Member: s.member, Seq: s.seq, Heard: s.heard, Returned: unsent, Charged: s.owed,
		Leave: true, Share: s.share,
	}
	s.budget.mu.Unlock()
	if _, err := s.lease(context.Background(), ask); err != nil {
		s.budget.log.Warn("leaving the shared budget", "error", err)
	}
}

// snapshot returns the present numbers.
func (s *sharing) snapshot() SharingStats {
	st := s.stats
	st.State, st.Members, st.Ghosts, st.Contact = s.state, s.last.Members, s.last.Ghosts, -1
	if k := &s.budget.bucket; s.state == Shared && !s.budget.closed {
		st.Stock = k.level/unit + k.held
	}
	if s.heard > 0 {
		_, st.Contact = s.silence()
	}
	return st
}
