package graphsrc

import (
	"slices"
	"strings"
	"time"
	"unique"

	"ucwagate/graphsrc/budget"
	"ucwagate/mapping"
)

// What follows is for change notifications. A covered person is one whose changes
// somebody promises to hand on by Apply; such people are read only once per
// Options.SafetyNet. A notification tells availability and activity and nothing
// else, so notes and locations of covered people may be as old as that.
//
// A notification usually has no number that says which of two is newer. So it
// counts as newer than what is known, unless that has just changed: then a reading
// decides, as notifications come twice and overtake each other. What was notified
// without a number is confirmed by a reading at the person's turn among the hot
// ones, which also brings what a notification leaves out.

// OnMissed sets the function that hears of covered people of whom a reading has
// shown another availability or activity than was last known: nobody has handed
// on a notification, or not yet. It is to be called before the first Cover; the
// function must return at once.
func (s *Source) OnMissed(missed func(id string)) { s.onMissed.Store(&missed) }

func (s *Source) miss(ids []string) {
	s.counters.missed.Add(uint64(len(ids)))
	missed := s.onMissed.Load()
	if missed == nil {
		return
	}
	for _, id := range ids {
		(*missed)(id)
	}
}

// Watched returns up to limit ids of watched people: those who are covered, those
// whom somebody asked for or who changed of late, others, and at last the quiet
// ones, of whom the covered are first. So who is covered stays among the first until
// nothing has happened to them for long. It looks at everybody watched: some
// milliseconds for 100,000.
func (s *Source) Watched(limit int) []string {
	keys := s.watch.favourites(limit, s.clk.Now())
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.String()
	}
	return ids
}

// Cover says that changes of these people are handed on from now on. It holds
// until Uncover, and no longer than they are watched.
func (s *Source) Cover(ids []string) {
	s.eachKey(ids, func(keys []userKey, now time.Time) { s.watch.cover(keys, true, now) })
}

// Uncover ends Cover: the people are the next to be read, and then in their
// turns.
func (s *Source) Uncover(ids []string) {
	s.eachKey(ids, func(keys []userKey, now time.Time) { s.watch.cover(keys, false, now) })
}

// Reread has watched people read at once, in the first-look lane, by requests that
// leave from now on: what one under way says of them may be too old.
func (s *Source) Reread(ids []string) {
	look := false
	s.eachKey(ids, func(keys []userKey, now time.Time) {
		for _, k := range keys {
			if !s.watch.has(k) {
				continue
			}
			s.coalescer.discard(k, false)
			if s.watch.urge(k, now) {
				look = true
			}
		}
	})
	if look {
		s.looker.wake()
	}
}

// Apply takes a notified change of a watched person; others are ignored. What a
// request under way was about to say of the person is not used any more. Where
// the notification alone does not tell what is the case now, the person is read.
func (s *Source) Apply(c PresenceChange) {
	k, ok := parseKey(c.ID)
	if !ok || !s.watch.has(k) {
		return
	}
	s.counters.notified.Add(1)
	if c.Availability == "" || c.Activity == "" || !s.coalescer.push(k, &c) {
		s.Reread([]string{strings.ToLower(c.ID)})
	}
}

// push applies a notification in the order of the answers: it is an answer of its
// own, to whoever waits for one. It reports false if it cannot be one.
func (c *coalescer) push(k userKey, p *PresenceChange) bool {
	one := c.intercept(k)
	if one == nil {
		return false
	}
	now := c.clk.Now()
	before, after, changed, ok := c.cache.push(k, p, now)
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.askAgain(one)
		return false
	}
	c.watch.pushed(k, after.tier, now)
	if c.share != nil {
		c.share.note(k, &before, &after)
		c.share.tellSoon()
	} else if changed {
		id := k.String()
		c.tell([]Change{{ID: id, Before: c.cache.reading(id, &before, false), After: c.cache.reading(id, &after, false)}})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complete(one, after, nil)
	return true
}

// intercept takes the place of whatever asks for a person, with those who wait
// for it; nil if the source has closed. While an answer is about to be applied it
// waits for that.
func (c *coalescer) intercept(k userKey) *call {
	was := c.lockSettled(k)
	defer c.mu.Unlock()
	if c.life.ctx.Err() != nil {
		return nil
	}
	one := &call{key: k, settling: true, lane: budget.FirstLook}
	if was != nil {
		if was.queued {
			c.dequeue(was)
		}
		one.lane, one.waiters = was.lane, was.waiters
		was.finished, was.waiters, was.next = true, nil, one
	}
	c.calls[k] = one
	return one
}

// askAgain replaces an intercepted call by one that asks Graph. The caller holds
// mu.
func (c *coalescer) askAgain(one *call) {
	one.settling = false
	kept := one.waiters[:0]
	for _, w := range one.waiters {
		if !w.settling {
			kept = append(kept, w)
			continue
		}
		if w.pending--; w.pending == 0 {
			close(w.done)
		}
	}
	one.waiters = kept
	c.supersede(one)
}

// push applies a notification to what is known of a watched person. It is not ok
// where nothing is known, or the person has said something since or has just
// changed, or the notification is older or says that nothing is known: then a
// reading must tell.
func (c *cache) push(k userKey, p *PresenceChange, at time.Time) (before, after record, changed, ok bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.index[k]
	if !found {
		return before, after, false, false
	}
	sl := &s.slots[i]
	r := &sl.rec
	before = *r
	w := r.words
	w.availability, w.activity = unique.Make(p.Availability), unique.Make(p.Activity)
	if !r.known || !r.watched || r.outdated || r.strikes > 0 || w.unknown() {
		return before, before, false, false
	}
	if older(p.Sequence, r.sequence) {
		c.stats.regressions.Add(1)
		return before, before, false, false
	}
	changed = !r.words.sameState(&w)
	if changed && p.Sequence == "" && c.second(at)-r.changedAt < uint32(settleTime/time.Second) {
		return before, before, false, false
	}
	if changed {
		r.words, r.changedAt = w, c.second(at)
		r.pushed = true
		c.stats.changes.Add(1)
	}
	if p.Sequence != "" {
		r.sequence, r.pushed = p.Sequence, false
	}
	r.readAt, r.regressions, r.doubted = int64(at.Sub(c.epoch)), 0, false
	if mapping.Active(w.unpack()) {
		r.lastActive = at.UnixNano()
	}
	r.tier = c.tierOf(sl, c.second(at))
	return before, *r, changed, true
}

// cover notes whether changes of a person are notified, and returns their tier
// and whether that is news.
func (c *cache) cover(k userKey, covered bool, now time.Time) (t tier, news bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[k]
	if !ok {
		return tierNormal, false
	}
	sl := &s.slots[i]
	news = sl.rec.covered != covered
	sl.rec.covered = covered
	sl.rec.tier = c.tierOf(sl, c.second(now))
	return sl.rec.tier, news
}

// tierNow is the tier somebody is in.
func (c *cache) tierNow(k userKey, now time.Time) tier {
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[k]
	if !ok {
		return tierNormal
	}
	return c.tierOf(&s.slots[i], c.second(now))
}

// has says whether somebody is watched.
func (w *watchlist) has(k userKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.index[k]
	return ok
}

// favourites returns up to limit people in the order of Source.Watched.
func (w *watchlist) favourites(limit int, now time.Time) []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	const covered, quietCovered = 0, 3
	var ranks [5][]userKey
	rank := [tierCount]int{tierHot: 1, tierNormal: 2, tierQuiet: 4}
	for i := 1; i < len(w.people); i++ {
		p := &w.people[i]
		if p.watchers == 0 {
			continue
		}
		t, ok := w.cache.coveredTier(p.key, now)
		at := covered
		switch {
		case !ok:
			at = rank[min(p.tier, tierQuiet)]
		case t == tierQuiet:
			at = quietCovered
		}
		if len(ranks[at]) < limit {
			ranks[at] = append(ranks[at], p.key)
		}
	}
	keys := slices.Concat(ranks[:]...)
	return keys[:min(len(keys), limit)]
}

// coveredTier is the tier in which somebody covered would be otherwise; not ok for
// others.
func (c *cache) coveredTier(k userKey, now time.Time) (t tier, ok bool) {
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, found := s.index[k]
	if !found || !s.slots[i].rec.covered {
		return 0, false
	}
	return c.tierUncovered(&s.slots[i], c.second(now)), true
}

// cover notes whether changes of people are notified. Who is covered stays where
// they are until they are read; who no longer is, is due at once.
func (w *watchlist) cover(keys []userKey, covered bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		i, ok := w.index[k]
		if !ok {
			continue
		}
		t, news := w.cache.cover(k, covered, now)
		if !news {
			continue
		}
		w.label(i, t)
		if !covered && w.people[i].place == placePushed {
			w.move(i, placeEarly, now)
		}
	}
}

// pushed notes that a change of somebody was notified. Who is to be read for it
// has their turn in their tier.
func (w *watchlist) pushed(k userKey, t tier, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[k]
	if !ok {
		return
	}
	if t == tierPushed {
		t = w.cache.tierNow(k, now)
	}
	w.label(i, t)
	switch w.people[i].place {
	case placeAway: // the notification is the answer to whoever took them
		w.move(i, placeOf(t), now)
	case placePushed:
		if t != tierPushed {
			w.move(i, placeOf(t), now)
		}
	}
}
