// Package budgettest is a shared bucket in memory for tests: the same arithmetic
// as the script that runs inside Redis, on a clock that the test holds.
//
// It owns the numbers of the bucket, and nothing of how a replica uses them.
package budgettest

import (
	"context"
	"errors"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
)

// ErrOvertaken is the answer to an ask with a number that is not new.
var ErrOvertaken = errors.New("overtaken by a later ask")

const (
	token  = int64(1e9) // units of the bucket
	maxGap = int64(24 * time.Hour / time.Microsecond)
)

// Ledger is a shared bucket. It is the state that a Redis would hold, and may be
// wiped.
type Ledger struct {
	terms budget.LeaseTerms
	now   func() time.Time

	mu      sync.Mutex
	share   budget.Share // of the last ask
	history int64        // of the data that are written
	copies  int64        // that are up to date
	bucket  *bucket      // nil if there is none, or no more
	members map[string]*member
	found   bool // the bucket was there when the last ask came
}

// bucket and member are as the script's; times are microseconds.
type bucket struct {
	now, seen, level, rate, filled, paused, raise, cut int64
	born, by, copies, whole                            int64
}

type member struct {
	seq                  uint64
	last, sure, joined   int64
	out, till            int64
	wanting, sparing     int64
	capacity, rate       int64
	ownCapacity, ownRate int64
}

// New returns a Ledger whose clock is now.
func New(terms budget.LeaseTerms, now func() time.Time) *Ledger {
	return &Ledger{terms: terms, now: now, history: 1, members: make(map[string]*member)}
}

// Terms implements budget.Lessor.
func (l *Ledger) Terms() budget.LeaseTerms { return l.terms }

// Serve says what the server of the bucket writes from now on: a history of data,
// which every restart and every takeover changes, 0 if it does not tell; and how many
// others have a copy that is up to date. At first it is history 1 without copies.
func (l *Ledger) Serve(history, copies int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history, l.copies = history, copies
}

// Wipe loses everything, as a Redis without persistence that is restarted.
func (l *Ledger) Wipe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket, l.members = nil, make(map[string]*member)
}

// Save returns a function that brings the present state back, as a failover that
// loses the writes since then.
func (l *Ledger) Save() (restore func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		return l.Wipe
	}
	b, members := *l.bucket, make(map[string]member)
	for id, m := range l.members {
		members[id] = *m
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.bucket, l.members = &b, make(map[string]*member)
		for id, m := range members {
			l.members[id] = &m
		}
	}
}

// Copy returns a second bucket with the present state, as a copy that is made the
// server of its own has.
func (l *Ledger) Copy() *Ledger {
	other := New(l.terms, l.now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket != nil {
		b := *l.bucket
		other.bucket = &b
	}
	for id, m := range l.members {
		copied := *m
		other.members[id] = &copied
	}
	other.share, other.history, other.copies = l.share, l.history, l.copies
	return other
}

// Lease implements budget.Lessor.
func (l *Ledger) Lease(_ context.Context, ask budget.Ask) (budget.Grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	me := l.members[ask.Member]
	if me != nil && ask.Seq <= me.seq {
		return budget.Grant{}, ErrOvertaken
	}
	l.share = ask.Share
	b, before := l.advance(ask.Share.Rate)
	ahead := ask.Heard > 0 && (me == nil || ask.Heard > me.seq)
	if l.found && (l.moved() || ahead && (me != nil || l.history == 0 || b.copies > 0)) {
		l.distrust()
	}
	l.count(before)
	s := l.survey(ask, before)
	if ahead {
		l.learn(s, ask)
	}
	l.pour(s, ask)
	l.forget(s)
	if l.members[ask.Member] == nil && !ask.Leave {
		s.live++
	}
	me = l.hear(ask)
	recalled := l.report(s, me, ask)
	g := l.grant(s, me, ask, recalled)
	if ask.Leave {
		delete(l.members, ask.Member)
	}
	g.Level = floorDiv(b.level, token/1000)
	g.Rate, g.Flow = b.rate, s.flow(b)
	g.PausedFor = micro(max(b.paused-b.now, 0))
	g.Ghosts, g.Reserve = int(s.ghosts), s.most/10
	return g, nil
}

// advance brings the clock to the present.
func (l *Ledger) advance(rate int64) (b *bucket, before int64) {
	reading := l.now().UnixMicro()
	if l.found = l.bucket != nil; !l.found {
		l.bucket = &bucket{
			seen: reading, rate: rate, filled: micros(l.terms.Life + l.terms.Grace), cut: -1,
			by: l.history, copies: l.copies,
		}
	}
	b = l.bucket
	before = b.now
	b.now += max(min(reading-b.seen, micros(l.terms.Fallback)), 0)
	b.seen = reading
	return b, before
}

// moved reports whether another server serves the data than wrote them.
func (l *Ledger) moved() bool {
	return l.history != 0 && l.bucket.by != 0 && l.history != l.bucket.by
}

// distrust is for data that may be of an earlier time.
func (l *Ledger) distrust() {
	b := l.bucket
	hold := l.terms.Life + l.terms.Grace
	if b.copies > 0 {
		hold = l.terms.Fallback
	}
	b.level = min(b.level, 0)
	b.filled = max(b.filled, b.now+micros(hold))
	b.born = b.now
	for _, m := range l.members {
		silent := b.now - micros(l.terms.Detect)
		m.last, m.sure = min(m.last, silent), min(m.sure, silent)
	}
}

// count notes who writes the data, and how many copies there are: while one is
// missing, the bucket is young.
func (l *Ledger) count(before int64) {
	b := l.bucket
	if l.history != 0 {
		b.by = l.history
	}
	if l.copies >= b.copies || b.now-b.whole >= maxGap {
		b.copies, b.whole = l.copies, b.now
	}
	if l.copies < b.copies || b.copies > 0 && b.now-before >= micros(l.terms.Quiet()) {
		b.born = b.now
	}
}

// learn takes over a pause and a rate that were lost.
func (l *Ledger) learn(s *survey, ask budget.Ask) {
	b := l.bucket
	if ask.Paused > 0 {
		b.paused = max(b.paused, b.now+micros(ask.Paused))
		b.filled = max(b.filled, b.paused)
		b.level = min(b.level, 0)
	}
	if ask.Slowed > 0 && ask.Slowed < b.rate {
		b.rate = max(ask.Slowed, s.floor)
		b.raise = max(b.paused, b.now) + micros(ask.Share.Window)
	}
}

// survey is who there is, and what must be set aside for those cut off.
type survey struct {
	planRate, free, most int64
	floor                int64
	ghosts, live, out    int64
}

func (l *Ledger) survey(ask budget.Ask, before int64) *survey {
	b := l.bucket
	capacity, rate := ask.Share.Capacity, ask.Share.Rate
	ownCapacity, ownRate := ask.Share.OwnCapacity, ask.Share.OwnRate
	s := &survey{}
	var established int64
	for _, m := range l.members {
		capacity, rate = min(capacity, m.capacity), min(rate, m.rate)
		ownCapacity, ownRate = max(ownCapacity, m.ownCapacity), max(ownRate, m.ownRate)
		s.out += m.out
		if b.now-m.sure >= micros(l.terms.Detect) {
			s.ghosts++
			continue
		}
		s.live++
		if before-m.joined >= micros(l.terms.Detect) {
			established++
		}
	}
	if b.now-b.born < micros(l.terms.Forget) {
		s.ghosts = int64(l.terms.Replicas)
	}
	s.ghosts = min(s.ghosts, max(int64(l.terms.Replicas)-established, 0))
	s.planRate = rate
	s.most = max(capacity-s.ghosts*ownCapacity, 0)
	s.free = max(rate-s.ghosts*ownRate, 0)
	s.floor = max(rate/10, 1)
	b.rate = min(b.rate, rate)
	return s
}

func (s *survey) flow(b *bucket) int64 { return b.rate * s.free / s.planRate }

func (l *Ledger) pour(s *survey, ask budget.Ask) {
	b := l.bucket
	for b.rate < s.planRate && b.raise <= b.now {
		s.pour(b, b.raise)
		b.rate = min(b.rate+s.floor, s.planRate)
		b.raise += micros(ask.Share.Window)
	}
	s.pour(b, b.now)
}

func (s *survey) pour(b *bucket, till int64) {
	room, flow := (s.most-s.out)*token-b.level, s.flow(b)
	if ns := till - b.filled; ns > 0 && room > 0 && flow > 0 {
		if ns > room/flow {
			b.level += room
		} else {
			b.level += ns * flow
		}
	}
	b.filled = max(b.filled, till)
}

// forget drops leases that have ended, and replicas silent for too long.
func (l *Ledger) forget(s *survey) {
	b := l.bucket
	for id, m := range l.members {
		if m.out > 0 && b.now >= m.till {
			s.out -= m.out
			m.out = 0
		}
		if b.now-m.last >= micros(l.terms.Forget) {
			s.out -= m.out
			delete(l.members, id)
		}
	}
}

// hear notes the asking replica.
func (l *Ledger) hear(ask budget.Ask) *member {
	now := l.bucket.now
	me := l.members[ask.Member]
	if me == nil {
		me = &member{last: now, sure: now, joined: now, till: now}
		if ask.Heard > 0 {
			me.sure -= micros(l.terms.Detect)
			me.joined -= micros(l.terms.Detect)
		}
		l.members[ask.Member] = me
	} else if ask.Heard == me.seq {
		me.sure = me.last
	}
	me.seq, me.last = ask.Seq, now
	me.capacity, me.rate = ask.Share.Capacity, ask.Share.Rate
	me.ownCapacity, me.ownRate = ask.Share.OwnCapacity, ask.Share.OwnRate
	return me
}

// report settles what the replica has sent, returned and met with.
func (l *Ledger) report(s *survey, me *member, ask budget.Ask) (recalled bool) {
	b := l.bucket
	known := me.out
	kept := min(ask.Holding, known)
	back := max(min(ask.Returned, known-kept), 0)
	s.out += kept - known
	me.out = kept
	b.level += (back - ask.Charged) * token
	if ask.Throttled {
		if b.now >= b.paused && b.now-micros(ask.Age) > b.cut {
			b.rate = max(b.rate/2, s.floor)
			b.cut = b.now
		}
		b.paused = max(b.paused, b.now+micros(ask.Pause))
		b.raise = b.paused + micros(ask.Share.Window)
		b.filled = max(b.filled, b.paused)
		b.level = min(b.level, 0)
	}
	b.level = min(b.level, max(s.most-s.out, 0)*token)
	return ask.Holding > known || s.out > s.most && me.out > 0
}

// grant leases what there is.
func (l *Ledger) grant(s *survey, me *member, ask budget.Ask, recalled bool) budget.Grant {
	b := l.bucket
	wanting, others := int64(1), int64(1)
	for _, m := range l.members {
		if m == me || b.now-m.last >= micros(l.terms.Detect) {
			continue
		}
		if m.wanting > 0 {
			wanting++
		}
		if m.wanting > 0 || m.sparing > 0 {
			others++
		}
	}
	sure := b.now-me.sure < micros(l.terms.Detect)
	var tokens int64
	if sure && !recalled && !ask.Leave && b.now >= b.paused {
		there := max(floorDiv(b.level, token), 0)
		tokens = min(ask.Want, part(there, wanting))
		above := max(there-tokens-s.most/10, 0)
		tokens += min(ask.Spare, part(above, others))
		b.level -= tokens * token
		s.out += tokens
		me.out += tokens
	}
	me.wanting = max(ask.Want-tokens, 0)
	me.sparing = max(ask.Want+ask.Spare-tokens, 0) - me.wanting
	if !recalled {
		me.till = b.now + micros(l.terms.Life+l.terms.Grace)
	}
	return budget.Grant{
		Tokens: tokens, Recalled: recalled, Again: !sure, Wait: micro(l.wait(s, ask, wanting)),
		Members: int(s.live), Wanting: int(wanting),
	}
}

// part is an equal part of what there is, but one token if there is any. What is
// left over evens out with the next.
func part(there, among int64) int64 { return max(there/among, min(there, 1)) }

// wait is how long it takes until there is a token for each who waits.
func (l *Ledger) wait(s *survey, ask budget.Ask, need int64) int64 {
	b := l.bucket
	if ask.Want == 0 && ask.Spare > 0 {
		need = s.most/10 + 1
	}
	missing := min(need, max(s.most, 1))*token - b.level
	if missing <= 0 {
		return 0
	}
	closed := max(b.filled-b.now, 0)
	if missing > (s.most-s.out)*token-b.level {
		return min(max(closed, 20_000), maxGap)
	}
	if flow := s.flow(b); flow > 0 {
		return min(closed+ceilDiv(missing, flow), maxGap)
	}
	return min(closed+1_000_000, maxGap)
}

// Outstanding returns the whole potential of the bucket in tokens, as an ask would
// find it now: its level, and what is leased.
func (l *Ledger) Outstanding() (level float64, leased int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		return 0, 0
	}
	then := l.bucket
	now := *then
	l.bucket = &now
	defer func() { l.bucket = then }()
	ask := budget.Ask{Share: l.share}
	_, before := l.advance(0)
	if l.moved() {
		now.level, now.filled = min(now.level, 0), now.now
	}
	s := l.survey(ask, before)
	l.pour(s, ask)
	now.level = min(now.level, max(s.most-s.out, 0)*token)
	for _, m := range l.members {
		if now.now < m.till {
			leased += m.out
		}
	}
	return float64(now.level) / float64(token), leased
}

func micros(d time.Duration) int64 { return int64(d / time.Microsecond) }

func micro(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
