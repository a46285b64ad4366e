package cover

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ucwagate/graphsrc"
)

// act is one thing that happens.
type act struct {
	kind          string
	account       int
	from, to      int // people
	pause, offset time.Duration
	fault         fault
	op            string
}

var actKinds = []string{
	"watch", "watch", "watch", "unwatch", "change", "change", "silent", "deaf", "hears", "remove",
	"vanish", "fault", "fault", "down", "up", "clock", "key", "foreign", "reauthorize", "missed",
}

func drawAct(rt *rapid.T, accounts, people int) act {
	a := act{
		kind:    rapid.SampledFrom(actKinds).Draw(rt, "kind"),
		account: rapid.IntRange(0, accounts-1).Draw(rt, "account"),
		from:    rapid.IntRange(0, people-1).Draw(rt, "from"),
		pause: rapid.SampledFrom([]time.Duration{
			0, time.Second, 10 * time.Second, time.Minute, 7 * time.Minute, 40 * time.Minute,
		}).Draw(rt, "pause"),
		// Graph allows an hour, and 55 minutes are asked for.
		offset: time.Duration(rapid.IntRange(-240, 240).Draw(rt, "offset")) * time.Second,
		op:     rapid.SampledFrom([]string{"create", "renew", "delete", "list"}).Draw(rt, "op"),
	}
	a.to = min(people, a.from+rapid.SampledFrom([]int{1, 5, 30, 400, 1000}).Draw(rt, "size"))
	e := *graphError(rapid.SampledFrom([]graphsrc.Kind{
		graphsrc.KindForbidden, graphsrc.KindThrottled, graphsrc.KindUnavailable, graphsrc.KindTimeout,
		graphsrc.KindInvalid, graphsrc.KindMalformed, graphsrc.KindUnauthorized,
	}).Draw(rt, "error"), 0)
	if e.Kind == graphsrc.KindUnauthorized {
		e.Err = graphsrc.ErrSignInNeeded
	}
	e.RetryAfter = time.Duration(rapid.SampledFrom([]int{0, 0, 30, 100_000}).Draw(rt, "retry after")) * time.Second
	a.fault = fault{&e, rapid.Bool().Draw(rt, "lost")}
	return a
}

func (b *bench) do(a act) {
	h := b.tenant.helpers[a.account]
	people := ids(a.from, a.to)
	s := h.only()
	ours := s != nil && s.NotificationURL == ourURL
	switch a.kind {
	case "watch":
		b.source.watch(people...)
	case "unwatch":
		b.source.unwatch(people...)
	case "change":
		b.tenant.change(people...)
	case "silent":
		h.set(func(*helper) {
			if ours {
				s.silent = true
			}
		})
	case "deaf":
		h.set(func(h *helper) { h.deaf = true })
	case "hears":
		h.set(func(h *helper) { h.deaf = false })
	case "remove", "vanish":
		if h.drop(); ours && a.kind == "remove" {
			b.tenant.lifecycle(s, EventRemoved)
		}
	case "fault":
		h.set(func(h *helper) { h.faults[a.op] = append(h.faults[a.op], a.fault) })
	case "down":
		h.set(func(h *helper) { h.down = a.fault.err })
	case "up":
		h.set(func(h *helper) { h.down = nil })
	case "clock":
		b.clock.set(a.offset)
	case "key":
		b.keys.set(fmt.Sprintf("k%d", a.from), false)
	case "foreign":
		h.put(foreignURL)
	case "reauthorize", "missed":
		if ours {
			b.tenant.lifecycle(s, map[string]Event{"reauthorize": EventReauthorize, "missed": EventMissed}[a.kind])
		}
	}
	pass(a.pause)
}

// heal ends all faults except that subscriptions are silent.
func (b *bench) heal() {
	for _, h := range b.tenant.helpers {
		h.set(func(h *helper) {
			h.down, h.deaf = nil, false
			clear(h.faults)
			for id, s := range h.subs {
				if s.NotificationURL == foreignURL {
					delete(h.subs, id)
				}
			}
		})
	}
}

// live with changes of everybody for a while.
func (b *bench) live(d time.Duration, people int) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		b.tenant.change(ids(0, people)...)
		pass(11 * time.Minute)
	}
}

// check returns what is wrong with who is covered.
func (b *bench) check() (wrong []string) {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	b.tenant.mu.Lock()
	defer b.tenant.mu.Unlock()
	subscribed := make(map[string]int)
	heard := make(map[string]bool)
	for _, h := range b.tenant.helpers {
		all := h.live()
		for _, s := range all {
			for id := range s.people {
				subscribed[id]++
				heard[id] = heard[id] || !s.silent
			}
		}
	}
	for id, n := range subscribed {
		if n > 1 {
			wrong = append(wrong, id+" is subscribed to twice")
		}
	}
	for id := range b.source.covered {
		switch {
		case subscribed[id] == 0:
			wrong = append(wrong, id+" is covered and not subscribed to")
		case !heard[id]:
			wrong = append(wrong, id+" is covered by a subscription that delivers nothing")
		}
	}
	if b.tenant.peak > 1 {
		wrong = append(wrong, "an account had two subscriptions")
	}
	wrong = append(wrong, b.tenant.broken...)
	return wrong
}

// Whatever happens, nobody watched is staler than the safety net allows, and
// once faults have ended and people go on changing, everybody for whom there is
// room is covered by a subscription that exists and delivers.
func TestCoverageIsTrueAfterWhateverHappened(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		accounts := rapid.IntRange(1, 3).Draw(rt, "accounts")
		people := rapid.SampledFrom([]int{5, 60, 1200}).Draw(rt, "people")
		acts := make([]act, rapid.IntRange(1, 30).Draw(rt, "acts"))
		for i := range acts {
			acts[i] = drawAct(rt, accounts, people)
		}
		answer := time.Duration(rapid.SampledFrom([]int{0, 5, 90}).Draw(rt, "answer")) * time.Second
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			b := start(t, accounts, func(b *bench) {
				for _, h := range b.tenant.helpers {
					h.answer = answer
				}
			})
			defer b.end()
			for _, a := range acts {
				b.do(a)
			}
			// Nothing changes for as long as the safety net allows.
			pass(safety + 2*floor)
			if stale := b.source.stale(); len(stale) > 0 {
				wrong = append(wrong, fmt.Sprintf("%d are stale, one is %s", len(stale), stale[0]))
			}
			b.heal()
			for _, h := range b.tenant.helpers {
				h.set(func(h *helper) { h.answer = min(h.answer, 5*time.Second) })
			}
			b.live(5*time.Hour, people)
			wrong = append(wrong, b.check()...)
			watched := b.source.Watched(people)
			room := accounts * graphsrc.SubscriptionSize
			if n := b.source.coveredOf(watched); n < min(room, len(watched)) {
				wrong = append(wrong, fmt.Sprintf("%d of %d are covered: %+v", n, len(watched), b.Stats()))
			}
			if len(wrong) > 0 {
				wrong = append(wrong, b.log.String())
			}
		})
		if len(wrong) > 0 {
			rt.Fatal(strings.Join(wrong[:min(len(wrong), 5)], "\n"), "\n", wrong[len(wrong)-1])
		}
	})
}

// When all subscriptions fall silent, those who are covered by one are uncovered
// one minute after a reading has found the second change.
func TestTheSilentAreUncoveredWithinTheBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		accounts := rapid.IntRange(1, 3).Draw(rt, "accounts")
		people := rapid.IntRange(2, 900).Draw(rt, "people")
		idle := time.Duration(rapid.IntRange(130, 7200).Draw(rt, "idle")) * time.Second
		changing := rapid.IntRange(2, people).Draw(rt, "changing")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			b := start(t, accounts, nil)
			defer b.end()
			b.source.watch(ids(0, people)...)
			pass(4 * time.Minute)
			pass(idle)
			silent := make(map[string]*modelSub)
			for _, h := range b.tenant.helpers {
				if s := h.only(); s != nil {
					silent[h.name] = h.fallSilent(false)
				}
			}
			b.tenant.change(ids(0, changing)...)
			pass(safety + floor + latency + time.Second)
			for _, h := range b.tenant.helpers {
				s, changed := silent[h.name], 0
				for _, id := range ids(0, changing) {
					if s != nil && s.people[id] {
						changed++
					}
				}
				if changed >= 2 && h.only() == s {
					for _, st := range b.Stats().Accounts {
						if st.Name == h.name && st.Covered > 0 {
							wrong = append(wrong, fmt.Sprintf("%s still covers %d by a silent subscription", h.name, st.Covered))
						}
					}
				}
			}
			if stale := b.source.stale(); len(stale) > 0 {
				wrong = append(wrong, fmt.Sprintf("%d are stale", len(stale)))
			}
		})
		if len(wrong) > 0 {
			rt.Fatal(strings.Join(wrong, "\n"))
		}
	})
}
