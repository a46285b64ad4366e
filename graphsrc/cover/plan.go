package cover

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"ucwagate/graphsrc"
)

const (
	// worthwhile is how many people a replacement must gain, and disturbed the
	// share of those it disturbs, one in so many.
	worthwhile = 10
	disturbed  = 20
	// overdue is how long anybody may wait for a replacement.
	overdue = 5 * time.Minute
	// settle is how long the first create waits for more people.
	settle = 10 * time.Second
	// eager is the time between two plannings while nobody has a subscription.
	eager = 5 * time.Second
)

// planning plans until ctx ends.
func (m *Manager) planning(ctx context.Context) {
	for ctx.Err() == nil {
		wait := m.replan
		if !m.plan() {
			wait = min(wait, eager)
		}
		// More than a nap is slept in several.
		for until := m.clk.Now().Add(wait); ctx.Err() == nil; {
			left := until.Sub(m.clk.Now())
			if left <= 0 {
				break
			}
			m.sleep(ctx, left, nil)
		}
	}
}

// plan compares who is subscribed to with who is watched. It reports whether an
// account has a subscription.
func (m *Manager) plan() bool {
	places := m.places()
	var ids []string
	if places > 0 {
		ids = m.people.Watched(2 * places)
	}
	p := m.assign(ids, places)
	m.reaffirm(p.watched)
	return p.subscribed
}

// places is how many people the accounts have room for.
func (m *Manager) places() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, now := 0, m.clk.Now()
	for _, a := range m.accounts {
		if a.sub.live() || a.usable(now) {
			n += graphsrc.SubscriptionSize
		}
	}
	return n
}

// assignment is a plan in the making.
type assignment struct {
	now        time.Time
	watched    map[string]bool
	taken      map[string]bool
	newcomers  []string // in the order of merit
	subscribed bool
}

// assign sets the targets of all accounts. They have nobody in common, nor with
// what another account holds, as all of it happens under one hold of the lock.
func (m *Manager) assign(ids []string, places int) assignment {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := assignment{now: m.clk.Now(), watched: make(map[string]bool, len(ids)), taken: make(map[string]bool, places)}
	for id, until := range m.barred {
		if !p.now.Before(until) {
			delete(m.barred, id)
		}
	}
	order := make([]string, 0, len(ids))
	for _, id := range ids {
		id = strings.ToLower(id)
		if _, out := m.barred[id]; !out && !p.watched[id] {
			p.watched[id] = true
			order = append(order, id)
		}
	}
	for _, a := range m.accounts {
		p.keep(a)
		p.subscribed = p.subscribed || a.sub.live()
	}
	for _, id := range order {
		if !p.taken[id] {
			p.newcomers = append(p.newcomers, id)
		}
	}
	for _, a := range m.inOrder() {
		p.fill(a)
	}
	return p
}

// keep leaves those who are still watched where they are.
func (p *assignment) keep(a *account) {
	var kept []string
	for _, id := range a.holds(p.now) {
		if p.watched[id] && !p.taken[id] {
			p.taken[id] = true
			kept = append(kept, id)
		}
	}
	a.target = kept
}

// inOrder returns the accounts, the healthy ones first, and of those the ones
// whose filling disturbs the fewest.
func (m *Manager) inOrder() []*account {
	return slices.SortedStableFunc(slices.Values(m.accounts), func(a, b *account) int {
		if a.healthy() != b.healthy() {
			return first(a.healthy())
		}
		if a.sub.live() != b.sub.live() {
			return first(!a.sub.live())
		}
		if !a.sub.live() {
			return 0
		}
		return cmp.Compare(len(a.target), len(b.target))
	})
}

// first is what a comparison returns if its left side comes first, or does not.
func first(left bool) int {
	if left {
		return -1
	}
	return 1
}

// fill gives an account newcomers, and decides whether that is worth a create.
func (p *assignment) fill(a *account) {
	disturbs := 0
	if a.sub.live() {
		disturbs = len(a.target)
	}
	if a.usable(p.now) {
		n := min(graphsrc.SubscriptionSize-len(a.target), len(p.newcomers))
		a.target = append(a.target, p.newcomers[:n]...)
		p.newcomers = p.newcomers[n:]
	}
	gain := len(a.target) - disturbs
	if gain == 0 {
		a.gaining = time.Time{}
	} else if a.gaining.IsZero() {
		a.gaining = p.now
	}
	waited := p.now.Sub(a.gaining)
	switch {
	case a.sub != nil && !a.sub.accepted: // under way
		a.begin = false
	case a.sub.live() && len(a.target) == 0:
		a.begin = true // nobody is watched any more: it is deleted
	case gain == 0:
		a.begin = false
	case a.sub.live() && disturbs > 0:
		a.begin = gain >= max(worthwhile, disturbs/disturbed) || waited >= overdue
	case a.sub.live():
		a.begin = true
	default:
		a.begin = gain >= worthwhile || waited >= settle
	}
	if a.begin || len(a.target) > 0 {
		a.poke()
	}
}
