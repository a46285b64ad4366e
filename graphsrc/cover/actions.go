package cover

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"ucwagate/graphsrc"
)

const (
	// lifetime is what is asked for: the hour Graph allows, less what clocks may
	// differ by.
	//
	// Source: https://learn.microsoft.com/en-us/graph/api/resources/subscription
	lifetime = 55 * time.Minute
	// minLifetime bounds what is believed of an answer, which is of little use
	// where clocks differ.
	minLifetime = 5 * time.Minute
	// presenceResource is what the resource of every subscription to presence has.
	presenceResource = "communications/presences"
)

// forsake gives the people of a doomed subscription back to ordinary reading.
func (m *Manager) forsake(_ context.Context, a *account) {
	m.mu.Lock()
	s := a.sub
	s.forsaken = true
	d, people := s.doom, len(s.seats)
	a.distrusted(d, m.clk.Now())
	distrust, again := a.distrust, a.createAfter
	m.mu.Unlock()
	ids := m.uncover(a)
	if d.lossy() {
		m.people.Reread(ids)
	}
	switch d {
	case doomSilent:
		m.log.Warn("a subscription delivers nothing and is made anew",
			"account", a.name, "people", people, "in_a_row", distrust, "not_before", again)
	case doomRemoved, doomExpired:
		m.log.Warn("a subscription has ended", "account", a.name, "people", people, "why", d.String())
	default:
		m.log.Info("a subscription is ended", "account", a.name, "people", people, "why", d.String())
	}
}

// replace ends a subscription so that the target is subscribed to instead.
func (m *Manager) replace(_ context.Context, a *account) {
	m.mu.Lock()
	a.sub.end(doomPlan)
	m.mu.Unlock()
}

// drop forgets a subscription that has expired. Where clocks differ it may
// still exist.
func (m *Manager) drop(_ context.Context, a *account) {
	m.forget(a)
	m.mu.Lock()
	a.tidy = true
	m.mu.Unlock()
}

// end deletes a doomed subscription.
func (m *Manager) end(ctx context.Context, a *account) {
	call, cancel := m.within(ctx, callTimeout)
	defer cancel()
	if err := ignoreGone(a.graph.Unsubscribe(call, a.sub.id)); err != nil {
		m.failed(ctx, a, "deleting the subscription", err)
		return
	}
	m.succeeded(a)
	m.forget(a)
}

// forget leaves the account without a subscription. Its notifications are
// accepted for a while.
func (m *Manager) forget(a *account) {
	m.ledger.retire(a.sub, m.clk.Now().Add(accept))
	m.mu.Lock()
	a.sub = nil
	m.mu.Unlock()
}

// tidy deletes what the account has under our URL: it is of an earlier process,
// or of a create whose answer was lost. Other subscriptions are left alone, and
// so are those of another account here, which then is the same one.
func (m *Manager) tidy(ctx context.Context, a *account) {
	call, cancel := m.within(ctx, callTimeout)
	defer cancel()
	all, err := a.graph.Subscriptions(call)
	if err != nil {
		m.failed(ctx, a, "listing subscriptions", err)
		return
	}
	m.succeeded(a)
	switch twin, unsure := m.twin(a, all); {
	case unsure:
		m.later(a, twinRetry)
		return
	case twin != nil:
		m.shared(a, twin)
		return
	}
	ours, err := m.sweep(call, a, all)
	if err != nil {
		m.failed(ctx, a, "deleting an old subscription", err)
		return
	}
	var foreign *graphsrc.Subscription
	for i, s := range all {
		if s.NotificationURL != m.notificationURL && strings.Contains(strings.ToLower(s.Resource), presenceResource) {
			foreign = &all[i]
		}
	}
	m.mu.Lock()
	a.tidy = false
	refused := a.refusal
	if foreign == nil {
		a.inUse = false
	}
	m.mu.Unlock()
	switch {
	case foreign != nil && refused != nil && ours == 0:
		m.occupied(a, foreign)
	case foreign != nil && refused == nil:
		m.log.Warn("the helper account already has a subscription to presence with another notification URL; it is left alone",
			"account", a.name, "notification_url", foreign.NotificationURL, "expires", foreign.Expires)
	case refused != nil && ours > 0:
		m.failed(ctx, a, "creating a subscription", refused.err)
	case refused != nil:
		m.narrow(ctx, a)
	}
}

// sweep deletes those of some subscriptions that are under our URL, and returns
// how many there were. None may be another account's.
func (m *Manager) sweep(ctx context.Context, a *account, all []graphsrc.Subscription) (int, error) {
	n := 0
	for _, s := range all {
		if s.NotificationURL != m.notificationURL {
			continue
		}
		n++
		if err := ignoreGone(a.graph.Unsubscribe(ctx, s.ID)); err != nil {
			return n, err
		}
	}
	if n > 0 {
		m.log.Info("deleted subscriptions of unknown state", "account", a.name, "subscriptions", n)
	}
	return n, nil
}

// create subscribes to the target of an account.
func (m *Manager) create(ctx context.Context, a *account) {
	certificate, keyID, err := m.keys.Current()
	if err != nil {
		m.failed(ctx, a, "reading the encryption key", err)
		return
	}
	secret, asked, validations := rand.Text(), m.clk.Now(), m.validations()
	m.mu.Lock()
	people := a.choose()
	if len(people) == 0 { // the plan has changed
		m.mu.Unlock()
		return
	}
	s := newSubscription(a, people, keyID)
	s.expires = asked.Add(lifetime)
	a.sub = s
	m.mu.Unlock()
	m.ledger.open(s, secret, asked)

	call, cancel := m.within(ctx, callTimeout)
	defer cancel()
	got, err := a.graph.Subscribe(call, graphsrc.SubscriptionRequest{
		People: people, NotificationURL: m.notificationURL, LifecycleURL: m.lifecycleURL,
		ClientState: secret, Certificate: certificate, CertificateID: keyID,
		Expires: asked.Round(0).Add(lifetime),
	})
	if err == nil && got.ID == "" {
		err = &graphsrc.Error{Op: "create subscription", Kind: graphsrc.KindMalformed, Message: "the subscription has no id"}
	}
	if err != nil {
		m.notCreated(ctx, a, refusal{people: people, err: err, unreached: m.endpoint != nil && m.validations() == validations})
		return
	}
	m.ledger.name(s, got.ID)
	m.succeeded(a)
	m.mu.Lock()
	s.id = got.ID
	m.created(a, asked, got.Expires)
	m.mu.Unlock()
}

// notCreated leaves it to tidy to find out what exists now, and why Graph
// refused if it did.
func (m *Manager) notCreated(ctx context.Context, a *account, r refusal) {
	m.forget(a)
	m.mu.Lock()
	a.tidy = true
	if !refused(r.err) {
		m.mu.Unlock()
		m.failed(ctx, a, "creating a subscription", r.err)
		return
	}
	r.times = 1
	if a.refusal != nil {
		r.times += a.refusal.times
	}
	a.refusal = &r
	m.mu.Unlock()
}

// created takes note of an accepted create. The caller holds mu.
func (m *Manager) created(a *account, asked, expires time.Time) {
	s := a.sub
	s.accepted = true
	s.lives(asked, expires)
	if p := a.probation(); p > 0 {
		s.probation = m.clk.Now().Add(p)
	}
	a.createdAt, a.createAfter = m.clk.Now(), time.Time{}
	a.begin, a.gaining = false, time.Time{}
	a.inUse = false
	m.accepted(a)
	a.counts.created++
	m.log.Info("subscribed to presence", "account", a.name, "people", len(s.seats), "on_probation", !s.probation.IsZero())
}

// lives sets the end of a subscription and the time of its renewal.
func (s *subscription) lives(asked, expires time.Time) {
	life := lifetime
	if !expires.IsZero() {
		life = max(minLifetime, min(life, expires.Sub(asked)))
	}
	s.expires, s.renewedAt = asked.Add(life), asked
	jitter := mathrand.N(life / 10)
	s.renewAt = asked.Add(life*2/3 - jitter)
}

// renew moves the end of a subscription, or ends it if it is time for another.
func (m *Manager) renew(ctx context.Context, a *account) {
	asked := m.clk.Now()
	_, keyID, keyErr := m.keys.Current()
	m.mu.Lock()
	s := a.sub
	if !asked.Before(a.mayCreate()) {
		switch {
		case keyErr == nil && keyID != s.keyID:
			s.end(doomKey)
		case a.worn():
			s.end(doomPlan)
		}
	}
	id, doomed := s.id, s.doom != doomNone
	m.mu.Unlock()
	if doomed {
		return
	}
	call, cancel := m.within(ctx, callTimeout)
	defer cancel()
	got, err := a.graph.Renew(call, id, asked.Round(0).Add(lifetime))
	switch {
	case gone(err):
		m.mu.Lock()
		s.end(doomRemoved)
		m.mu.Unlock()
		return
	case err != nil:
		m.failed(ctx, a, "renewing the subscription", err)
		return
	}
	m.succeeded(a)
	m.mu.Lock()
	s.lives(asked, got.Expires)
	a.fails = 0
	a.counts.renewed++
	m.mu.Unlock()
}

// worn tells whether less than half of those subscribed to are wanted.
func (a *account) worn() bool {
	kept := 0
	for _, id := range a.target {
		if a.sub.seats[id] != nil {
			kept++
		}
	}
	return kept > 0 && 2*kept < len(a.sub.seats)
}

// validations is how often the notification URL was validated until now.
func (m *Manager) validations() uint64 {
	if m.endpoint == nil {
		return 0
	}
	return m.endpoint.Validations()
}

func gone(err error) bool {
	var e *graphsrc.Error
	return errors.As(err, &e) && (e.Kind == graphsrc.KindNotFound || e.Kind == graphsrc.KindGone)
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}
