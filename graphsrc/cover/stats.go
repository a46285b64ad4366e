package cover

import (
	"time"
)

// State is how an account is doing.
type State string

// The states.
const (
	StateSignedOut State = "signed-out"  // a person must sign it in again
	StateInUse     State = "in-use"      // another gateway has its subscription, or the same account under another name
	StateBackOff   State = "backing-off" // it waits after a failure or a death
	StateIdle      State = "idle"        // nobody is to be covered by it
	StateStarting  State = "starting"    // its subscription is being made or replaced
	StateLive      State = "live"        // its people are covered
	StateSuspect   State = "suspect"     // they are, but it may have fallen silent
	StateProbation State = "probation"   // they are not, until it delivers something
)

// States are all states, for metrics.
func States() []State {
	return []State{
		StateSignedOut, StateInUse, StateBackOff, StateIdle,
		StateStarting, StateLive, StateSuspect, StateProbation,
	}
}

// Stats is a picture of the accounts, in the order of Options.Accounts.
type Stats struct {
	Accounts []AccountStats
	// Barred is how many people Graph refused to subscribe to in the last hour.
	Barred int
}

// AccountStats is a picture of an account. Counters count since New.
type AccountStats struct {
	Name  string
	State State
	// People is how many are subscribed to, Covered how many of them count on it.
	People, Covered int
	// Expires is when the subscription ends, zero without one.
	Expires time.Time
	// NotBefore is when an account that backs off goes on, zero if it does not.
	NotBefore time.Time
	// LastNotification is when the last one came, zero if none did.
	LastNotification time.Time

	Created       uint64 // subscriptions
	Renewed       uint64 // renewals
	Failed        uint64 // requests that failed, whatever the reason
	Notifications uint64 // changes notified
	SilentDeaths  uint64 // subscriptions given up because they delivered nothing
	Muted         uint64 // people uncovered because nothing was delivered about them alone
}

// Stats returns how the accounts are doing.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	s := Stats{Accounts: make([]AccountStats, 0, len(m.accounts))}
	for _, a := range m.accounts {
		s.Accounts = append(s.Accounts, a.stats(now))
	}
	for _, until := range m.barred {
		if now.Before(until) {
			s.Barred++
		}
	}
	return s
}

func (a *account) stats(now time.Time) AccountStats {
	st := AccountStats{
		Name: a.name, State: a.state(now), LastNotification: a.heardAt,
		Created: a.counts.created, Renewed: a.counts.renewed, Failed: a.counts.failed,
		Notifications: a.counts.notifications, SilentDeaths: a.counts.deaths, Muted: a.counts.muted,
	}
	if at := latest(a.notBefore, a.createAfter); at.After(now) {
		st.NotBefore = at
	}
	if s := a.sub; s != nil && s.accepted {
		st.People, st.Expires = len(s.seats), s.expires
		if s.covering {
			st.Covered = len(s.audible())
		}
	}
	return st
}

func (a *account) state(now time.Time) State {
	waits := now.Before(latest(a.notBefore, a.createAfter))
	switch s := a.sub; {
	case a.signedOut:
		return StateSignedOut
	case a.inUse:
		return StateInUse
	case s.live() && !s.covering && !s.probation.IsZero():
		return StateProbation
	case s.live() && (s.evidence > 0 || len(s.doubts) > 0):
		return StateSuspect
	case s.live() && s.covering:
		return StateLive
	case waits:
		return StateBackOff
	case s == nil && len(a.target) == 0:
		return StateIdle
	}
	return StateStarting
}
