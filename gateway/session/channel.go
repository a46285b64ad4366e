package session

import (
	"fmt"
	"slices"
	"time"
)

// channel is one event channel.
type channel struct {
	instance string
	opened   bool // by OpenChannel, not by New
	lent     bool // by LendChannel, and no P-GET has used it
	resume   bool // the next package says that transient state was lost
	// next is the number of the package that is being put together.
	next int64
	// sent is the last package until its receipt is proved by a P-GET for the
	// one after it.
	sent *Package
	// burnt is the first number that was given up because the queue
	// overflowed: packages burnt to next-1 will never be. 0: none.
	burnt int64
	// quiet is when the channel was last used, for telling abandoned ones.
	quiet                int64
	low, medium, timeout time.Duration
	parked               parked
	queue                queue
}

// parked is the P-GET that waits for the package next; ticket 0: none.
type parked struct {
	ticket   uint64
	ack      int64
	priority int
	deadline int64 // when an empty answer is due
	until    int64 // when it will be looked at, as far as its engine was told
	// name is Poll.Name.
	name uint64
	// lost says that its answer is long overdue. It keeps nothing alive and
	// nobody out, but whoever still holds it gets an answer.
	lost bool
}

// overdue is how long after its answer was due a P-GET is taken for one that
// nobody holds any more: whoever holds it looks when the answer is due, and
// cannot only if its process has ended or is cut off from the others.
const overdue = time.Minute

// waits says whether a P-GET is parked, as far as is known.
func (c *channel) waits() bool { return c.parked.ticket != 0 && !c.parked.lost }

// loseOverdue takes note of P-GETs that nobody holds any more. Only from then on
// is it a silence, however late it is noticed: that nobody was told of an answer
// may be no fault of the client.
func (s *Session) loseOverdue(t int64) {
	since := t - int64(overdue)
	for i := range s.channels {
		if c := &s.channels[i]; c.waits() && c.parked.deadline <= since {
			c.parked.lost = true
			s.quiet, c.quiet = max(s.quiet, since), max(c.quiet, since)
		}
	}
}

func newChannel(instance string, t int64) channel {
	return channel{instance: instance, next: 1, quiet: t, low: DefaultLow, medium: DefaultMedium, timeout: DefaultTimeout}
}

// OpenChannel makes sure that there is a channel of that name.
func (s *Session) OpenChannel(instance string, now time.Time) (created bool, err error) {
	s.advance(s.at(now))
	if c := s.channel(instance); c != nil {
		c.opened = true
		return false, nil
	}
	if len(s.channels) == 1 && s.channels[0].untouched() {
		s.channels = nil
	}
	if len(s.channels) >= s.limits.Channels && !s.abandon() {
		return false, fmt.Errorf("%w event channels", ErrTooMany)
	}
	c := newChannel(instance, s.seen)
	c.opened = true
	s.channels = append(s.channels, c)
	return true, nil
}

// LendChannel is OpenChannel for somebody who may never use the channel: until
// a P-GET does, it keeps nothing alive.
func (s *Session) LendChannel(instance string, now time.Time) error {
	created, err := s.OpenChannel(instance, now)
	if created {
		s.channel(instance).lent = true
	}
	return err
}

// abandonedAfter is how long a channel must not have been used before another
// may take its place: a client that is there asks again at once.
const abandonedAfter = time.Minute

// abandon closes the channel that was not used for the longest time, so that
// tabs that were closed without a word do not keep new ones out. It reports
// whether there was one.
func (s *Session) abandon() bool {
	oldest := -1
	for i := range s.channels {
		if c := &s.channels[i]; !c.waits() && s.seen-c.quiet >= int64(abandonedAfter) &&
			(oldest < 0 || c.quiet < s.channels[oldest].quiet) {
			oldest = i
		}
	}
	if oldest >= 0 {
		s.channels = slices.Delete(s.channels, oldest, oldest+1)
	}
	return oldest >= 0
}

// CloseChannel ends a channel with what it holds and returns how many are
// left, without those that are only lent. The P-GET parked in it is woken, and its Look says Closed.
func (s *Session) CloseChannel(instance string, now time.Time) (left int) {
	t := s.at(now)
	s.advance(t)
	i := slices.IndexFunc(s.channels, func(c channel) bool { return c.instance == instance })
	if i >= 0 {
		if s.channels[i].parked.ticket != 0 {
			s.wake(instance, t)
			s.quiet = t
		}
		s.channels = slices.Delete(s.channels, i, i+1)
	}
	for i := range s.channels {
		if !s.channels[i].lent {
			left++
		}
	}
	return left
}

// Position is the number with which a client that knows none may begin: the
// first package whose receipt is not proved. Of a channel that is not there it
// is 0.
func (s *Session) Position(instance string) (ack int64) {
	if c := s.channel(instance); c != nil {
		return c.first()
	}
	return 0
}

// Arrive takes in a P-GET. ErrNotFound: there is no such channel. ErrExpired:
// it comes after the application should have ended.
func (s *Session) Arrive(instance string, p Poll, now time.Time) (Verdict, error) {
	t := s.at(now)
	s.excuse(p.Since, t)
	s.advance(t)
	if s.expired(t) {
		return Verdict{}, ErrExpired
	}
	c := s.channel(instance)
	if c == nil {
		return Verdict{}, fmt.Errorf("the event channel is %w", ErrNotFound)
	}
	s.used, s.reset, s.quiet, c.quiet, c.lent = true, false, t, t, false
	waits := c.waits()
	if p.Ack == c.next && waits && p.Priority < c.parked.priority {
		return Verdict{Replaced: true}, nil
	}
	if p.Ack == c.next || !waits {
		c.setTimers(p) // else they would change those of the one that waits
		s.warnEarlier(c.medium)
	}
	if c.sent != nil && p.Ack == c.sent.NextAck {
		c.sent = nil
	}
	switch {
	case c.sent != nil && p.Ack == c.sent.Ack:
		return Verdict{Package: c.sent}, nil
	case p.Ack != c.next:
		return Verdict{Package: c.resync(p.Ack)}, nil
	}
	if c.parked.ticket != 0 {
		s.wake(instance, t)
	}
	c.burnt = 0
	s.tickets++
	c.parked = parked{ticket: s.tickets, ack: p.Ack, priority: p.Priority, deadline: t + int64(c.timeout), name: p.Name}
	return s.look(c, t), nil
}

// excuse keeps the time from since to t from counting as silence: a P-GET had
// come, and could not be let in.
func (s *Session) excuse(since time.Time, t int64) {
	if since.IsZero() {
		return
	}
	if came := since.UnixNano(); came < t {
		s.quiet = t - max(0, came-s.quiet)
	}
}

// Look says what becomes of a parked P-GET.
func (s *Session) Look(instance string, ticket uint64, now time.Time) Verdict {
	t := s.at(now)
	s.advance(t)
	c := s.waiting(instance, ticket)
	if c == nil {
		return s.unseated(instance)
	}
	due, some := c.queue.due(int64(c.medium), int64(c.low))
	v := s.look(c, t)
	if v.Package != nil && some && due <= t {
		v.Woken, v.Late = true, time.Duration(t-due)
	}
	return v
}

// unseated is the verdict on a P-GET that does not wait any more.
func (s *Session) unseated(instance string) Verdict {
	closed := s.channel(instance) == nil
	return Verdict{Closed: closed, Replaced: !closed}
}

// Leave is told when the connection of a parked P-GET is gone.
func (s *Session) Leave(instance string, ticket uint64, now time.Time) {
	t := s.at(now)
	if c := s.waiting(instance, ticket); c != nil {
		s.unpark(c, t)
	}
	s.advance(t)
}

// Withdraw is Leave for a P-GET of which nobody knows whether it was let in, by
// the name that it gave.
func (s *Session) Withdraw(instance string, name uint64, now time.Time) {
	t := s.at(now)
	if c := s.channel(instance); c != nil && c.parked.ticket != 0 && name != 0 && c.parked.name == name {
		s.unpark(c, t)
	}
	s.advance(t)
}

// unpark ends the wait of the parked P-GET.
func (s *Session) unpark(c *channel, t int64) {
	c.parked = parked{}
	s.quiet, c.quiet = t, t
}

// Release answers a parked P-GET now, with what is queued.
func (s *Session) Release(instance string, ticket uint64, now time.Time) Verdict {
	t := s.at(now)
	s.advance(t)
	c := s.waiting(instance, ticket)
	if c == nil {
		return s.unseated(instance)
	}
	return s.answer(c, t)
}

// Enqueue queues events in every channel.
func (s *Session) Enqueue(now time.Time, events ...*Event) { s.enqueue(s.at(now), events...) }

// TakeWakes returns the parked P-GETs that must be looked at because of what
// happened since the last call.
func (s *Session) TakeWakes(now time.Time) []Wake {
	w := s.wakes
	s.wakes = nil
	for i := range w {
		if w[i].At.Before(now) {
			w[i].At = now
		}
	}
	return w
}

// Waiting is a parked P-GET as an engine sees it that cannot look into the
// session when something happens.
type Waiting struct {
	Instance string
	// Until is when the P-GET will be looked at, as far as its engine was told.
	Until time.Time
	// Medium and Low are for how long its channel holds events back.
	Medium, Low time.Duration
}

// Waiting lists the P-GETs that are parked.
func (s *Session) Waiting() (list []Waiting) {
	for i := range s.channels {
		if c := &s.channels[i]; c.parked.ticket != 0 {
			list = append(list, Waiting{Instance: c.instance, Until: instant(c.parked.until), Medium: c.medium, Low: c.low})
		}
	}
	return list
}

// Sent returns the package ack of a channel if it is the one whose receipt is
// not proved yet, else nil.
func (s *Session) Sent(instance string, ack int64) *Package {
	if c := s.channel(instance); c != nil && c.sent != nil && c.sent.Ack == ack {
		return c.sent
	}
	return nil
}

// Overflow gives up what every channel holds, as if its queue had outgrown
// Limits.Events: events were lost on their way to it.
func (s *Session) Overflow(now time.Time) {
	t := s.at(now)
	for i := range s.channels {
		c := &s.channels[i]
		c.overflow()
		if c.parked.ticket != 0 {
			c.parked.until = t
			s.wake(c.instance, t)
		}
	}
}

func (s *Session) channel(instance string) *channel {
	for i := range s.channels {
		if s.channels[i].instance == instance {
			return &s.channels[i]
		}
	}
	return nil
}

func (s *Session) waiting(instance string, ticket uint64) *channel {
	if c := s.channel(instance); c != nil && ticket != 0 && c.parked.ticket == ticket {
		return c
	}
	return nil
}

func (s *Session) look(c *channel, t int64) Verdict {
	at := c.releaseAt()
	if c.resume || c.parked.ack != c.next || t >= at {
		return s.answer(c, t)
	}
	c.parked.until = at
	return Verdict{Ticket: c.parked.ticket, Until: instant(at)}
}

// answer ends the wait of the parked P-GET with a package.
func (s *Session) answer(c *channel, t int64) Verdict {
	ack := c.parked.ack
	s.unpark(c, t)
	if ack != c.next {
		return Verdict{Package: c.resync(ack)}
	}
	p := &Package{Ack: c.next, Rel: Next, NextAck: c.next + 1, Events: c.queue.take()}
	if c.resume {
		p.Rel, c.resume = Resume, false
	}
	c.next, c.sent = p.NextAck, p
	return Verdict{Package: p}
}

func (s *Session) enqueue(t int64, events ...*Event) {
	if len(events) == 0 {
		return
	}
	for i := range s.channels {
		c := &s.channels[i]
		for _, e := range events {
			c.queue.add(e, e.since(t))
			if c.queue.len() > s.limits.Events {
				c.overflow()
			}
		}
		if c.parked.ticket == 0 {
			continue
		}
		if at := c.releaseAt(); at < c.parked.until {
			c.parked.until = at
			s.wake(c.instance, at)
		}
	}
}

// since is from when on the client has to be told of an event that is queued at
// t. The clocks of replicas differ: nothing is known before it is.
func (e *Event) since(t int64) int64 {
	if e.Since == 0 || e.Since > t {
		return t
	}
	return e.Since
}

func (s *Session) wake(instance string, at int64) {
	s.wakes = append(s.wakes, Wake{Instance: instance, At: instant(at)})
}

// releaseAt is when the parked P-GET is to be answered; 0 is at once.
func (c *channel) releaseAt() int64 {
	if c.parked.ack != c.next {
		return 0
	}
	if at, ok := c.queue.due(int64(c.medium), int64(c.low)); ok {
		return min(at, c.parked.deadline)
	}
	return c.parked.deadline
}

// overflow gives up the package that is being put together, and its number
// with it: whoever asks for that number, once or again, is told to begin anew.
func (c *channel) overflow() {
	c.queue.clear()
	if c.burnt == 0 {
		c.burnt = c.next
	}
	c.next++
}

func (c *channel) resync(asked int64) *Package {
	first := c.first()
	p := &Package{Ack: asked, Rel: Resync, NextAck: first, Overflow: c.burnt != 0 && asked >= c.burnt && asked < c.next}
	if asked < 0 {
		p.Ack = first
	}
	return p
}

// first is the first number whose package was not acknowledged.
func (c *channel) first() int64 {
	if c.sent != nil {
		return c.sent.Ack
	}
	return c.next
}

func (c *channel) setTimers(p Poll) {
	set := func(timer *time.Duration, asked, least time.Duration) {
		if asked != 0 {
			*timer = min(max(asked, least), MaxTimer)
		}
	}
	set(&c.low, p.Low, MinAggregation)
	set(&c.medium, p.Medium, MinAggregation)
	set(&c.timeout, p.Timeout, MinTimeout)
}

func (c *channel) reset() {
	c.resume = true
	c.low, c.medium, c.timeout = DefaultLow, DefaultMedium, DefaultTimeout
}

// untouched says whether nothing would be missed if the channel were gone.
func (c *channel) untouched() bool {
	return !c.opened && c.next == 1 && c.parked.ticket == 0 && c.queue.len() == 0
}

func (c *channel) shift(by int64) {
	c.queue.shift(by)
	c.quiet += by
	if c.parked.ticket != 0 {
		c.parked.deadline += by
		c.parked.until += by
	}
}
