package cover

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"ucwagate/graphsrc"
)

// barredFor is how long someone over whom Graph stumbles is left out.
const barredFor = time.Hour

// choose returns whom the next create asks for: the whole target, or, while it
// is not known over whom Graph stumbles, those whom it has accepted before and
// half of the suspects, or none of these. The half is drawn by lot, so that with
// nobody known somebody else is in it the next time. The caller holds mu.
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
	a.suspects = suspected
	if a.control && len(innocent) > 0 {
		return innocent
	}
	a.control, a.accused = false, "" // nobody is left to compare with
	if len(suspected) == 0 {
		a.cleared = false
		return slices.Clone(a.target)
	}
	rand.Shuffle(len(suspected), func(i, j int) { suspected[i], suspected[j] = suspected[j], suspected[i] })
	return append(innocent, suspected[:(len(suspected)+1)/2]...)
}

// accepted takes note of people Graph has no objection to. If there were none
// before, it may have objected to something else until now, so the others are
// no suspects. The caller holds mu.
func (m *Manager) accepted(a *account) {
	if a.control {
		a.control, a.cleared = false, true
		if a.accused != "" {
			m.bar(a)
		}
	}
	if len(a.proven) == 0 {
		a.suspects = nil
	}
	if len(a.proven) > 4*graphsrc.SubscriptionSize {
		clear(a.proven)
	}
	for id := range a.sub.seats {
		a.proven[id] = true
	}
	a.suspects = slices.DeleteFunc(a.suspects, func(id string) bool { return a.proven[id] })
	a.cleared = a.cleared && len(a.suspects) > 0
	a.fails, a.refusal = 0, nil
}

// bar leaves out the accused. The caller holds mu.
func (m *Manager) bar(a *account) {
	who := a.accused
	m.barred[who] = m.clk.Now().Add(barredFor)
	is := func(id string) bool { return id == who }
	a.target = slices.DeleteFunc(slices.Clone(a.target), is)
	a.suspects, a.accused = slices.DeleteFunc(a.suspects, is), ""
	m.log.Warn("Graph refuses a subscription because of a person, who is left out",
		"account", a.name, "people", 1, "for", barredFor, "left_out", len(m.barred))
}

// narrow draws a conclusion from a create that Graph refused for what it asked.
//
// The first time is taken for an accident. Then somebody may be to blame of whom
// nothing is known. Those who were accepted before are tried alone: only if Graph
// accepts them are the others the reason, and half of these are added, down to
// one. This one is left out of everything for an hour once Graph has again
// accepted those who were accepted before, and them alone.
//
// If it does not accept them, the reason may be the URL, which Graph validates,
// or one of them has left the tenant. Nobody is blamed, and nobody counts as
// accepted any more: any half that is accepted tells that it was not the URL. The
// pauses go on doubling until something is accepted.
func (m *Manager) narrow(ctx context.Context, a *account) {
	m.mu.Lock()
	r := a.refusal
	strangers := slices.DeleteFunc(slices.Clone(r.people), func(id string) bool { return a.proven[id] })
	unreached := r.unreached && !a.cleared
	switch {
	case r.times < 2 && len(a.suspects) == 0:
	case len(strangers) == 0:
		clear(a.proven)
		a.suspects, a.control, a.cleared, a.accused = r.people, false, false, ""
	case len(strangers) == len(r.people): // nobody is known
		if a.suspects = strangers; len(strangers) == 1 {
			a.suspects, a.refusal = nil, nil
		}
	case !a.cleared:
		a.suspects, a.control = strangers, true
	default:
		if a.suspects = strangers; len(strangers) == 1 {
			a.accused, a.control = strangers[0], true
		}
		a.fails = 0 // there is progress, and an end to it
	}
	m.mu.Unlock()
	if unreached {
		m.log.Warn("Graph does not reach the notification URL, it seems: it refuses a subscription and has not validated the URL meanwhile",
			"account", a.name, "notification_url", m.notificationURL, "times", r.times)
	}
	m.failed(ctx, a, "creating a subscription", r.err)
}
