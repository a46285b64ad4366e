package cover

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"ucwagate/graphsrc"
)

const (
	// firstRetry doubles with every failure in a row, up to lastRetry.
	firstRetry, lastRetry = 10 * time.Second, 5 * time.Minute
	// maxRetryAfter bounds a Retry-After that is honoured.
	maxRetryAfter = 10 * time.Minute
	// signInRetry is how often an account that is signed out is tried.
	signInRetry = 5 * time.Minute
	// signInReminder is how often it is said what to do about it.
	signInReminder = time.Hour
	// forbiddenRetry and occupiedRetry are for what a person must change.
	forbiddenRetry = 30 * time.Minute
	occupiedRetry  = 10 * time.Minute
	// barredFor is how long someone over whom Graph stumbles is left out.
	barredFor = time.Hour
)

// failed decides when an account is tried again. Failures that follow from the
// end of the loop are none.
func (m *Manager) failed(ctx context.Context, a *account, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	a.counts.failed++
	if errors.Is(err, graphsrc.ErrSignInNeeded) {
		a.signedOut = true
		a.notBefore = now.Add(signInRetry)
		if a.signInTold.IsZero() || now.Sub(a.signInTold) >= signInReminder {
			a.signInTold = now
			m.log.Error(`a helper account is signed out and its subscription ends within the hour: run "ucwagate helper sign-in"`,
				"account", a.name, "while", what, "error", err)
		}
		return
	}
	var e *graphsrc.Error
	if errors.As(err, &e) && e.Kind == graphsrc.KindForbidden {
		a.fails++
		a.notBefore = now.Add(forbiddenRetry)
		m.log.Error("a helper account may not subscribe to presence: the delegated permission Presence.Read.All is missing or not consented to",
			"account", a.name, "while", what, "again_in", forbiddenRetry, "error", err)
		return
	}
	wait := doubled(firstRetry, lastRetry, a.fails)
	a.fails++
	wait += rand.N(wait / 10)
	if e != nil {
		wait = max(wait, min(e.RetryAfter, maxRetryAfter))
	}
	a.notBefore = now.Add(wait)
	m.log.Warn("a helper account failed", "account", a.name, "while", what, "again_in", wait, "error", err)
}

// succeeded takes note that Graph answered as it should.
func (m *Manager) succeeded(a *account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.signedOut {
		m.log.Info("a helper account is signed in again", "account", a.name)
	}
	a.signedOut, a.signInTold, a.notBefore = false, time.Time{}, time.Time{}
}

// refused tells whether Graph did not like what a create asked for.
func refused(err error) bool {
	var e *graphsrc.Error
	return errors.As(err, &e) && !errors.Is(err, graphsrc.ErrSignInNeeded) &&
		(e.Kind == graphsrc.KindInvalid || e.Kind == graphsrc.KindNotFound)
}

// occupied takes note that another gateway has the account's one subscription.
func (m *Manager) occupied(a *account, by *graphsrc.Subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.inUse, a.refusal, a.tidy = true, nil, true
	a.counts.failed++
	a.notBefore = m.clk.Now().Add(occupiedRetry)
	m.log.Error("a helper account is in use by another gateway: an account can have one subscription to presence; give each gateway accounts of its own",
		"account", a.name, "notification_url", by.NotificationURL, "expires", by.Expires, "again_in", occupiedRetry)
}

// choose returns whom the next create asks for: the whole target, or, while it
// is not known over whom Graph stumbles, those whom it has accepted before and
// half of the suspects. The caller holds mu.
func (a *account) choose() []string {
	suspects := make(map[string]bool, len(a.suspects))
	for _, id := range a.suspects {
		suspects[id] = true
	}
	var innocent, suspected []string
	for _, id := range a.target {
		switch {
		case suspects[id]:
			suspected = append(suspected, id)
		case a.proven[id]:
			innocent = append(innocent, id)
		}
	}
	if a.suspects = suspected; len(suspected) == 0 {
		return slices.Clone(a.target)
	}
	return append(innocent, suspected[:(len(suspected)+1)/2]...)
}

// accepted takes note of people Graph has no objection to. If there were none
// before, it may have objected to something else until now, so the others are
// no suspects. The caller holds mu.
func (a *account) accepted(people map[string]*seat) {
	if len(a.proven) == 0 {
		a.suspects = nil
	}
	if len(a.proven) > 4*graphsrc.SubscriptionSize {
		clear(a.proven)
	}
	for id := range people {
		a.proven[id] = true
	}
	a.suspects = slices.DeleteFunc(a.suspects, func(id string) bool { return a.proven[id] })
	a.fails, a.refusal = 0, nil
}

// narrow draws a conclusion from a create that Graph refused for what it asked.
// The first time is taken for an accident. Then somebody is to blame of whom
// nothing is known, and half of those are tried, down to one, who is left out
// of everything for an hour. If nobody was ever accepted, the cause may as well
// be the URL, which Graph validates: nobody is blamed, and somebody else is
// first the next time.
func (m *Manager) narrow(ctx context.Context, a *account) {
	m.mu.Lock()
	r, now := a.refusal, m.clk.Now()
	err := r.err
	strangers := slices.DeleteFunc(slices.Clone(r.people), func(id string) bool { return a.proven[id] })
	switch {
	case r.times < 2 && len(a.suspects) == 0:
	case len(strangers) == 0: // somebody has left
		clear(a.proven)
		a.suspects = r.people
	case len(strangers) > 1:
		a.suspects = strangers
	default:
		a.suspects, a.refusal = nil, nil
		who := strangers[0]
		a.target = slices.DeleteFunc(slices.Clone(a.target), func(id string) bool { return id == who })
		if len(a.proven) == 0 {
			a.target = append(a.target, who)
			break
		}
		m.barred[who] = now.Add(barredFor)
		m.log.Warn("Graph refuses a subscription because of one person, who is left out",
			"account", a.name, "person", who, "for", barredFor)
	}
	if len(a.proven) > 0 && len(a.suspects) > 0 {
		a.fails = 0 // there is progress, and an end to it
	}
	m.mu.Unlock()
	m.failed(ctx, a, "creating a subscription", err)
}
