package cover

import (
	"strings"

	"ucwagate/graphsrc"
)

// Knows tells whether a notification with that clientState may come from that
// subscription: from one in force, one being created whose id is not known yet,
// or one that ended in the last 5 minutes. The time it takes does not depend on
// how much of clientState is right.
func (m *Manager) Knows(subscriptionID, clientState string) bool {
	return m.ledger.knows(subscriptionID, clientState, m.clk.Now()) && !m.closed.Load()
}

// Changed takes changes out of notifications that Knows has accepted, and hands
// them on. Those of a subscription that was replaced are not taken at their
// word, as the reading that followed may be newer: the people are read again.
func (m *Manager) Changed(changes []graphsrc.PresenceChange) {
	if m.closed.Load() {
		return
	}
	var late []string
	for _, c := range changes {
		c.ID = strings.ToLower(c.ID)
		s, inForce := m.ledger.find(c.SubscriptionID)
		if s != nil {
			m.heard(s, inForce, c.ID)
		}
		if inForce {
			m.people.Apply(c)
		} else {
			late = append(late, c.ID)
		}
	}
	if len(late) > 0 {
		m.people.Reread(late)
	}
}

func (m *Manager) heard(s *subscription, inForce bool, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, now := s.owner, m.clk.Now()
	a.counts.notifications++
	a.heardAt = now
	if !inForce {
		return
	}
	if a.distrust > 0 && now.Sub(a.diedAt) >= forgive {
		a.distrust = 0
	}
	if s.hear(id, now) {
		a.poke()
	}
}

// Lifecycle takes a lifecycle notification that Knows has accepted. It does not
// wait for what follows from it.
func (m *Manager) Lifecycle(subscriptionID string, event Event) {
	s, inForce := m.ledger.find(subscriptionID)
	if !inForce || m.closed.Load() {
		return
	}
	m.log.Info("Graph says something of a subscription", "account", s.owner.name, "event", string(event))
	m.mu.Lock()
	var lost []string
	switch event {
	case EventReauthorize:
		s.renewAt = m.clk.Now()
	case EventRemoved:
		s.end(doomRemoved)
	case EventMissed:
		lost = s.people()
		s.excuse(m.clk.Now())
	}
	s.owner.poke()
	m.mu.Unlock()
	if len(lost) > 0 {
		m.people.Reread(lost)
	}
}

// Missed says that a reading has shown a covered person's availability or
// activity to differ from what was last known, while no notification said so.
// It returns at once and calls nobody.
func (m *Manager) Missed(id string) {
	id = strings.ToLower(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clk.Now()
	for _, a := range m.accounts {
		if s := a.sub; s.live() && s.miss(id, now) {
			a.poke()
			return
		}
	}
}
