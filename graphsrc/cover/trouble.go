package cover

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"ucwagate/graphsrc"
)

const (
	// firstRetry doubles with every failure in a row, up to lastRetry, or to
	// lastRefusedRetry if Graph refuses what is asked for.
	firstRetry, lastRetry = 10 * time.Second, 5 * time.Minute
	lastRefusedRetry      = 10 * time.Minute
	// maxRetryAfter bounds a Retry-After that is honoured.
	maxRetryAfter = 10 * time.Minute
	// signInRetry is how often an account that is signed out is tried.
	signInRetry = 5 * time.Minute
	// signInReminder is how often it is said what to do about it.
	signInReminder = time.Hour
	// forbiddenRetry and occupiedRetry are for what a person must change, and
	// twinReminder is how often it is said of two names for one account.
	forbiddenRetry = 30 * time.Minute
	occupiedRetry  = 10 * time.Minute
	twinReminder   = time.Hour
	// twinRetry is for when it cannot be told yet whose a subscription is.
	twinRetry = 5 * time.Second
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
		if m.signInNeeded != nil {
			m.signInNeeded()
		}
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
	last := lastRetry
	if refused(err) {
		last = lastRefusedRetry
	}
	wait := doubled(firstRetry, last, a.fails)
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

// twin returns another account that has one of these subscriptions, nil if none
// has. It is unsure while one of them may be the result of another account's
// create that has not been answered. Whatever is nobody's then will never be
// anybody's: an id is taken over from no listing.
func (m *Manager) twin(a *account, all []graphsrc.Subscription) (twin *account, unsure bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ours := make(map[string]bool, len(all))
	for _, s := range all {
		if s.NotificationURL == m.notificationURL {
			ours[s.ID] = true
		}
	}
	for _, other := range m.accounts {
		switch {
		case other == a || other.sub == nil || len(ours) == 0:
		case ours[other.sub.id]:
			return other, false
		case !other.sub.accepted:
			unsure = true
		}
	}
	return nil, unsure
}

// later has the account wait for a moment.
func (m *Manager) later(a *account, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.notBefore = m.clk.Now().Add(wait)
}

// shared takes note that two of our accounts are one, which can have one
// subscription: that of the other is left alone.
func (m *Manager) shared(a, with *account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	a.inUse, a.refusal, a.tidy = true, nil, true
	a.counts.failed++
	a.notBefore = now.Add(occupiedRetry)
	if a.twinTold.IsZero() || now.Sub(a.twinTold) >= twinReminder {
		a.twinTold = now
		m.log.Error("two helper files hold the same account, which can have one subscription to presence: one of them is not used until it is signed in as another account",
			"account", a.name, "same_as", with.name)
	}
}
