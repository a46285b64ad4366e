package session

import (
	"maps"
	"slices"
	"time"
	"unique"
)

// address is an interned address: 8 bytes for each place that holds it.
type address = unique.Handle[string]

// Session is the state of one application. It is not safe for concurrent use.
// Use New or UnmarshalBinary to get one.
//
// A Session must never hold what it can compute: ten thousand of them wait in
// one process, nearly all idle.
type Session struct {
	limits Limits
	seen   int64 // the latest time seen, Unix nanoseconds like all times in here

	used  bool  // a P-GET has arrived, ever
	reset bool  // the soft reset of the present silence has been done
	quiet int64 // since when no P-GET is parked

	tickets  uint64 // the last ticket given
	subs     []subscription
	held     map[address]int32 // address → subscriptions that hold it; nil while few
	changed  map[address]bool  // since TakeInterest: address → entered
	roster   *roster           // of a running contacts-and-groups subscription; replaced, never changed
	channels []channel
	wakes    []Wake

	self          *available     // after MakeAvailable
	communication *Communication // once something set it; replaced, never changed

	heldShared bool // held belongs to a copy as well
}

// New returns the session of an application that starts now. It has the event
// channel "", which the first OpenChannel of another name takes away again if
// nothing used it.
func New(now time.Time, l Limits) *Session {
	t := now.UnixNano()
	return &Session{limits: l.WithDefaults(), seen: t, quiet: t, channels: []channel{newChannel("", t)}}
}

// WithDefaults returns l with the defaults in place of what is not set.
func (l Limits) WithDefaults() Limits {
	whole := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	whole(&l.Subscriptions, 100)
	whole(&l.Members, 250)
	whole(&l.Events, 2000)
	whole(&l.Channels, 16)
	if l.SoftReset <= 0 {
		l.SoftReset = 10 * time.Minute
	}
	if l.Expiry <= 0 {
		l.Expiry = 15 * time.Minute
	}
	if l.Activity <= 0 {
		l.Activity = 60 * time.Minute
	}
	if l.Behind <= 0 {
		l.Behind = 5 * time.Second
	}
	return l
}

// Try runs f on s and puts everything back as it was if f fails or panics.
func (s *Session) Try(f func(*Session) error) (err error) {
	before := s.fork()
	done := false
	defer func() {
		if !done || err != nil {
			*s = before
		}
		s.settle()
	}()
	err = f(s)
	done = true
	return err
}

// fork returns a copy of s that what happens to s does not touch. It is cheap:
// lists of members and rosters are never changed in place, and queues and
// counts are copied by whoever writes to them first.
func (s *Session) fork() Session {
	s.heldShared = true
	for i := range s.channels {
		s.channels[i].queue.shared = true
	}
	c := *s
	c.subs = slices.Clone(s.subs)
	c.channels = slices.Clone(s.channels)
	c.changed = maps.Clone(s.changed)
	c.wakes = slices.Clone(s.wakes)
	return c
}

// settle ends what fork began: the other copy is gone.
func (s *Session) settle() {
	s.heldShared = false
	for i := range s.channels {
		s.channels[i].queue.shared = false
	}
}

// at brings s to the time now and returns it. Time in a session never runs
// backwards: at small steps back (a replica that is late) it stands still, and a
// clock that was set back takes everything that is to come with it, so that
// nothing has to wait for the lost time to pass again.
func (s *Session) at(now time.Time) int64 {
	t := now.UnixNano()
	switch back := s.seen - t; {
	case back > int64(s.limits.Behind):
		s.shift(-back)
		s.seen = t
	case back > 0:
		return s.seen
	default:
		s.seen = t
	}
	return t
}

func (s *Session) shift(by int64) {
	s.quiet += by
	s.self = s.self.shifted(by)
	for i := range s.subs {
		s.subs[i].shift(by)
	}
	if s.roster != nil {
		r := *s.roster
		r.lease.shift(by)
		s.roster = &r
	}
	for i := range s.channels {
		s.channels[i].shift(by)
	}
}

// lease is something that ends unless it is extended, and warns before.
type lease struct {
	expires int64
	warn    int64 // when the client is to be warned; 0: it was
}

// extend adds d to what is left at t, with at most limit left afterwards. The
// warning comes a tenth of d before the end, at least a minute, and early enough
// to arrive with events that are held back for medium.
func (l *lease) extend(t int64, d, limit, medium time.Duration) {
	l.expires = min(max(l.expires, t)+int64(d), t+int64(limit))
	l.warn = l.expires - max(int64(time.Minute), int64(d)/10)
	l.warnBefore(medium)
}

// warnMargin is what a client has left, at the least, when a warning arrives
// that was held back for as long as it asked.
const warnMargin = 30 * time.Second

// warnBefore brings a warning that is still to come forward so that it can be
// held back for medium.
func (l *lease) warnBefore(medium time.Duration) {
	if l.warn != 0 {
		l.warn = min(l.warn, l.expires-int64(medium+warnMargin))
	}
}

// warnEarlier does so for everything that ends; a channel has begun to hold
// events back for medium.
func (s *Session) warnEarlier(medium time.Duration) {
	for i := range s.subs {
		s.subs[i].warnBefore(medium)
	}
	if s.roster != nil {
		r := *s.roster
		r.warnBefore(medium)
		s.roster = &r
	}
}

// slowest is the longest time a channel holds events of the medium class back.
func (s *Session) slowest() time.Duration {
	longest := DefaultMedium
	for i := range s.channels {
		longest = max(longest, s.channels[i].medium)
	}
	return longest
}

func (l *lease) shift(by int64) {
	l.expires += by
	if l.warn != 0 {
		l.warn += by
	}
}

// next is when something happens to l.
func (l *lease) next() int64 {
	if l.warn != 0 {
		return l.warn
	}
	return l.expires
}

// Tick does what time alone brings about: warnings, the end of subscriptions,
// the soft reset, the need of a keep-alive. It reports whether the application
// is to end because all its channels were silent for Limits.Expiry, or its user
// not active for Limits.Activity.
func (s *Session) Tick(now time.Time) (expired bool) {
	t := s.at(now)
	s.advance(t)
	return s.expired(t)
}

// Deadline is when Tick next has something to do; zero: never.
func (s *Session) Deadline() time.Time {
	var d int64
	sooner := func(t int64) {
		if d == 0 || t < d {
			d = t
		}
	}
	for i := range s.subs {
		sooner(s.subs[i].next())
	}
	if s.roster != nil {
		sooner(s.roster.next())
	}
	for i := range s.channels {
		if c := &s.channels[i]; c.waits() {
			sooner(c.parked.deadline + int64(overdue))
		}
	}
	if s.silent() {
		sooner(s.quiet + int64(s.limits.Expiry))
		if !s.reset {
			sooner(s.quiet + int64(s.limits.SoftReset))
		}
	}
	if a := s.self; a != nil {
		sooner(a.active + int64(s.limits.Activity))
		if a.due != 0 {
			sooner(a.due)
		}
		if a.wanted {
			sooner(s.seen)
		}
	}
	if d == 0 {
		return time.Time{}
	}
	return instant(d)
}

func (s *Session) advance(t int64) {
	for i := 0; i < len(s.subs); {
		sub := &s.subs[i]
		switch {
		case t >= sub.expires:
			s.drop(i, t)
			continue
		case sub.warn != 0 && t >= sub.warn:
			sub.warn = 0
			s.enqueue(t, sub.event(Updated))
		}
		i++
	}
	if r := s.roster; r != nil {
		switch {
		case t >= r.expires:
			s.roster = nil
		case r.warn != 0 && t >= r.warn:
			warned := *r
			warned.warn = 0
			s.roster = &warned
			s.enqueue(t, &Event{Kind: ContactsAndGroupsSubscription, Type: Updated, Class: Medium})
		}
	}
	s.loseOverdue(t)
	if s.silent() && !s.reset && t-s.quiet >= int64(s.limits.SoftReset) {
		s.softReset(t)
	}
	s.keepAlive(t)
}

// softReset ends what a client that was away for long has to start anew.
func (s *Session) softReset(t int64) {
	s.reset = true
	for len(s.subs) > 0 {
		s.drop(0, t)
	}
	s.roster = nil
	for i := range s.channels {
		s.channels[i].reset()
	}
}

// silent says whether the channels have been used and no P-GET is parked now.
func (s *Session) silent() bool {
	if !s.used {
		return false
	}
	for i := range s.channels {
		if s.channels[i].waits() {
			return false
		}
	}
	return true
}

func (s *Session) expired(t int64) bool {
	return s.inactive(t) || s.silent() && t-s.quiet >= int64(s.limits.Expiry)
}

func instant(t int64) time.Time { return time.Unix(0, t).UTC() }
