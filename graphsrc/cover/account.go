package cover

import (
	"context"
	"time"

	"ucwagate/graphsrc"
)

const (
	// createGap is the least time between two creates of an account.
	createGap = time.Minute
	// renewGap is the least time between two renewals of a subscription,
	// however often Graph asks for one.
	renewGap = 30 * time.Second
	// patience is how long an account may have to wait before its people are
	// given to others.
	patience = 2 * time.Minute
	// unhealthy is how many failures in a row make an account the last resort.
	unhealthy = 3
)

const (
	// trusting is the number of deaths from which on a new subscription must
	// prove itself.
	trusting = 2
	// forgive is how long after the last death a notification restores trust.
	forgive = time.Hour

	firstDeathPause, lastDeathPause = time.Minute, 30 * time.Minute
	firstProbation, lastProbation   = 10 * time.Minute, 4 * time.Hour
)

// account is a helper account. Its fields are guarded by Manager.mu, but for
// the first three, which never change.
type account struct {
	name  string
	graph graphsrc.Subscriber
	wake  chan struct{}

	sub *subscription // set by the account's loop only; nil: there is none

	// The plan.
	target  []string  // who is to be subscribed to
	begin   bool      // the target is worth a create
	gaining time.Time // since when it has more than the subscription

	// What the loop remembers.
	tidy        bool // there may be subscriptions we do not know
	refusal     *refusal
	fails       int       // in a row
	notBefore   time.Time // nothing is asked of Graph before
	createdAt   time.Time // last create that Graph accepted
	createAfter time.Time // pause after a death
	signedOut   bool
	inUse       bool // by another gateway, or under another name by this one
	signInTold  time.Time
	twinTold    time.Time

	// Trust.
	distrust int // deaths, and probations failed, since trust was full
	diedAt   time.Time
	heardAt  time.Time

	// Narrowing down whom Graph refuses.
	proven   map[string]bool // people of creates that Graph accepted
	suspects []string        // of whom at least one may have made it refuse
	control  bool            // the next create asks for none of them
	cleared  bool            // such a one was accepted, so they are the reason
	accused  string          // the last of them, barred if the next one is accepted

	counts counts
}

// counts are the counters of an account, for Stats.
type counts struct {
	created, renewed, failed, notifications, deaths, muted uint64
}

// refusal is a create that Graph called invalid.
type refusal struct {
	people    []string
	err       error
	unreached bool // the notification URL was not validated meanwhile
	times     int  // in a row
}

func newAccount(a Account) *account {
	return &account{
		name: a.Name, graph: a.Graph, wake: make(chan struct{}, 1),
		tidy: true, proven: make(map[string]bool),
	}
}

// poke makes the loop look again.
func (a *account) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// mayCreate is when the next create is allowed.
func (a *account) mayCreate() time.Time {
	at := latest(a.notBefore, a.createAfter)
	if !a.createdAt.IsZero() {
		at = latest(at, a.createdAt.Add(createGap))
	}
	return at
}

// usable tells whether the account can be given people.
func (a *account) usable(now time.Time) bool {
	return latest(a.notBefore, a.createAfter).Sub(now) <= patience
}

// healthy tells whether the account can be expected to do what it is told.
// Others get whom no healthy one has room for.
func (a *account) healthy() bool {
	return a.fails < unhealthy && !a.signedOut && !a.inUse
}

// holds are the people who are at this account now, subscribed to or about to be.
func (a *account) holds(now time.Time) []string {
	switch {
	case a.sub != nil && a.sub.doom == doomNone:
		return a.sub.people()
	case a.usable(now) && a.healthy():
		return a.target
	}
	return nil
}

// action is what a loop does next; it calls Graph or People, under no lock.
type action func(context.Context, *account)

// next decides what the loop of an account does, or how long it waits.
func (m *Manager) next(a *account) (action, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	s := a.sub
	if s == nil {
		return m.nextWithout(a, now)
	}
	mute := s.judge(now)
	s.verdict(now)
	switch {
	case s.doom != doomNone && !s.forsaken:
		return m.forsake, 0
	case s.doom != doomNone && due(now, s.expires):
		return m.drop, 0
	case s.doom != doomNone:
		return m.when(now, a.notBefore, m.end)
	case len(mute) > 0:
		return func(_ context.Context, a *account) { m.hush(a, mute) }, 0
	case !s.covering && (s.probation.IsZero() || !s.heard.IsZero()):
		return m.cover, 0
	case a.begin && !now.Before(a.mayCreate()):
		return m.replace, 0
	}
	renewal := latest(s.renewAt, s.renewedAt.Add(renewGap), a.notBefore)
	if due(now, renewal) {
		return m.renew, 0
	}
	at := earliest(renewal, s.expires, s.probation)
	if a.begin {
		at = earliest(at, a.mayCreate())
	}
	for _, missed := range s.doubts {
		at = earliest(at, missed.Add(latency))
	}
	return nil, at.Sub(now)
}

func (m *Manager) nextWithout(a *account, now time.Time) (action, time.Duration) {
	switch {
	case a.tidy:
		return m.when(now, a.notBefore, m.tidy)
	case len(a.target) > 0 && (a.begin || !a.createdAt.IsZero()):
		return m.when(now, a.mayCreate(), m.create)
	}
	return nil, nap
}

// when returns act once the time has come.
func (m *Manager) when(now, at time.Time, act action) (action, time.Duration) {
	if wait := at.Sub(now); wait > 0 {
		return nil, wait
	}
	return act, 0
}

// verdict dooms the subscription if its time is up.
func (s *subscription) verdict(now time.Time) {
	switch {
	case s.doom != doomNone:
	case due(now, s.expires):
		s.doom = doomExpired
	case !s.probation.IsZero() && s.heard.IsZero() && !now.Before(s.probation):
		s.doom = doomUnproven
	}
}

// distrusted takes note of a subscription that delivered nothing.
func (a *account) distrusted(d doom, now time.Time) {
	switch d {
	case doomSilent:
		a.counts.deaths++
		a.distrust++
		a.diedAt = now
		if a.distrust >= trusting {
			a.createAfter = now.Add(doubled(firstDeathPause, lastDeathPause, a.distrust-trusting))
		}
	case doomUnproven:
		a.distrust++
	}
}

// probation is how long a subscription made now may deliver nothing, 0 if it is
// trusted.
func (a *account) probation() time.Duration {
	if a.distrust < trusting {
		return 0
	}
	return doubled(firstProbation, lastProbation, a.distrust-trusting)
}

// doubled is first, doubled n times, at most last.
func doubled(first, last time.Duration, n int) time.Duration {
	d := first
	for ; n > 0 && d < last; n-- {
		d *= 2
	}
	return min(d, last)
}

func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}

// earliest leaves out zero times.
func earliest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if !o.IsZero() && o.Before(t) {
			t = o
		}
	}
	return t
}
