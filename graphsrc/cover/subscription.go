package cover

import (
	"maps"
	"slices"
	"time"
)

const (
	// latency is within which Graph delivers a notification.
	//
	// Source: https://learn.microsoft.com/en-us/graph/change-notifications-overview
	latency = time.Minute
	// fatal is how much evidence of silence a subscription is given up for, and
	// how often in a row one person may be missed.
	fatal = 2
)

// doom is why a subscription is to be ended.
type doom int

const (
	doomNone     doom = iota
	doomSilent        // it delivers nothing
	doomUnproven      // it has delivered nothing on probation
	doomRemoved       // Graph says that it is gone
	doomExpired       // it was not renewed in time
	doomPlan          // others are to be covered, or nobody
	doomKey           // its key is not the current one
)

var doomTexts = [...]string{
	doomNone: "none", doomSilent: "it delivers nothing", doomUnproven: "it has delivered nothing on probation",
	doomRemoved: "Graph has removed it", doomExpired: "it could not be renewed in time",
	doomPlan: "other people are watched", doomKey: "the encryption key has changed",
}

func (d doom) String() string { return doomTexts[d] }

// lossy tells whether changes may have been lost by the time it is known.
func (d doom) lossy() bool {
	return d == doomSilent || d == doomRemoved || d == doomExpired
}

// subscription is one of an account, from just before it is created until it is
// deleted. Its fields are guarded by Manager.mu.
type subscription struct {
	owner    *account
	id       string
	keyID    string
	accepted bool // Graph has answered the create
	doom     doom
	forsaken bool // what follows from doom for its people is done
	covering bool // its people are covered

	// expires and renewAt are reckoned from just before Graph was asked.
	expires, renewAt, renewedAt time.Time
	probation                   time.Time // when it must have delivered; zero if it is trusted

	seats    map[string]*seat
	heard    time.Time // when it delivered last, zero: never
	evidence int       // confirmed misses since
	doubts   map[string]time.Time
	excused  time.Time // misses before are explained otherwise
}

// seat is a person subscribed to.
type seat struct {
	heard  time.Time // last notification
	misses int       // confirmed misses since
}

func (p *seat) mute() bool { return p.misses >= fatal }

func newSubscription(a *account, people []string, keyID string) *subscription {
	s := &subscription{
		owner: a, keyID: keyID,
		seats: make(map[string]*seat, len(people)), doubts: make(map[string]time.Time),
	}
	for _, id := range people {
		s.seats[id] = new(seat)
	}
	return s
}

// live tells whether its people may count on it.
func (s *subscription) live() bool { return s != nil && s.accepted && s.doom == doomNone }

// end dooms the subscription, unless it is doomed already.
func (s *subscription) end(d doom) {
	if s.doom == doomNone {
		s.doom = d
	}
}

func (s *subscription) people() []string { return slices.Collect(maps.Keys(s.seats)) }

// audible are the people who are covered if any are.
func (s *subscription) audible() []string {
	ids := make([]string, 0, len(s.seats))
	for id, p := range s.seats {
		if !p.mute() {
			ids = append(ids, id)
		}
	}
	return ids
}

// hear takes note of a notification, and reports whether it is the first, which
// ends a probation. Who was mute is covered again by the next planning.
func (s *subscription) hear(id string, now time.Time) (first bool) {
	first = s.heard.IsZero()
	s.heard, s.evidence = now, 0
	if p := s.seats[id]; p != nil {
		*p = seat{heard: now}
		delete(s.doubts, id)
	}
	return first
}

// excuse takes note that a reading was asked for because notifications may have
// been lost: what it finds is no evidence.
func (s *subscription) excuse(now time.Time) { s.excused = now.Add(latency) }

// miss takes note of a change of which no notification has come yet, and
// reports whether one ought to.
func (s *subscription) miss(id string, now time.Time) bool {
	p := s.seats[id]
	if p == nil || !s.covering || p.mute() || now.Before(s.excused) {
		return false
	}
	if !p.heard.IsZero() && now.Sub(p.heard) < latency {
		return false // a reading may overtake a notification, or the reverse
	}
	if _, ok := s.doubts[id]; ok {
		return false
	}
	s.doubts[id] = now
	return true
}

// judge confirms the misses that are a minute old. It returns people who have
// become mute, and dooms the subscription when the evidence suffices.
func (s *subscription) judge(now time.Time) (mute []string) {
	if s.doom != doomNone {
		return nil
	}
	for id, at := range s.doubts {
		if now.Sub(at) < latency {
			continue
		}
		delete(s.doubts, id)
		p := s.seats[id]
		if p.misses++; p.mute() {
			mute = append(mute, id)
		}
		if s.heard.Before(at) {
			s.evidence++
		}
	}
	if s.evidence >= fatal {
		s.doom = doomSilent
	}
	return mute
}

// due tells whether a time has come. It has also come if the wall clock says so,
// because the monotonic one stands still while a machine is suspended.
func due(now, at time.Time) bool {
	return !now.Before(at) || !now.Round(0).Before(at.Round(0))
}
