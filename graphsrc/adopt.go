package graphsrc

import (
	"time"

	"github.com/google/uuid"

	"ucwagate/mapping"
)

// adoption says which readings of others are taken over.
type adoption int

const (
	adoptKnown  adoption = iota // of people of whom something is kept
	adoptNew                    // of anybody
	adoptAlways                 // of people of whom something is kept, whatever is known of them
)

// adopted is what became of a reading of somebody else.
type adopted struct {
	taken   bool // it is what is known now
	differs bool // what is known is not what was said to be
	changed bool // other words were known before
}

// peek is get without the mark of use.
func (c *cache) peek(k userKey) (record, bool) {
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[k]
	if !ok {
		return record{}, false
	}
	return s.slots[i].rec, s.slots[i].rec.known
}

// adopt makes a reading of another source what is known of a person, unless that
// is newer. Another source has believed it already.
func (c *cache) adopt(k userKey, p *SharedReading, now time.Time, how adoption) (record, adopted) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	var sl *slot
	if i, ok := s.index[k]; ok && s.slots[i].rec.known {
		sl = &s.slots[i]
	} else if ok && s.slots[i].rec.watched || how == adoptNew {
		sl = s.claim(k)
	} else {
		return record{}, adopted{}
	}
	r := &sl.rec
	var what adopted
	at := int64(p.ReadAt.Sub(c.epoch))
	w := pack(&p.Words, &r.words)
	same := r.known && r.words.equal(&w)
	if r.known && at < r.newest() && !(how == adoptAlways && !r.outdated) {
		// The own reading comes back with a time that is off by a little.
		what.taken = same && !r.outdated
		return *r, what
	}
	before := *r
	if !same {
		r.words, r.changedAt = w, c.second(now)
		if !before.known {
			r.changedAt -= uint32(c.temper.hot / time.Second)
		}
	}
	r.sequence, r.strikes, r.absent, r.known = p.Sequence, p.Refusals, p.Absent, true
	c.suspects.Add(suspect(r) - suspect(&before))
	c.renewed(sl, at, p.LastActive, now)
	what.taken, what.changed = true, before.known && !same
	return *r, what
}

// confirm notes that a person has been read with the words known, if they have
// the digest.
func (c *cache) confirm(k userKey, digest uint32, readAt, now time.Time) (record, adopted) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[k]
	if !ok {
		return record{}, adopted{}
	}
	sl := &s.slots[i]
	r := &sl.rec
	if !r.known {
		return *r, adopted{differs: r.watched}
	}
	at := int64(readAt.Sub(c.epoch))
	if at < r.newest() {
		return *r, adopted{taken: !r.outdated}
	}
	if r.digest() != digest {
		return *r, adopted{differs: true}
	}
	var active time.Time
	if mapping.Active(r.words.unpack()) {
		active = readAt
	}
	c.renewed(sl, at, active, now)
	return *r, adopted{taken: true}
}

// newest is the time before which no reading of another source is taken over.
func (r *record) newest() int64 {
	if r.outdated {
		return r.checkedAt // see expire
	}
	return r.readAt
}

// renewed notes a reading of another source.
func (c *cache) renewed(sl *slot, at int64, active, now time.Time) {
	r := &sl.rec
	r.readAt, r.checkedAt = at, max(at, r.checkedAt)
	r.regressions, r.outdated, r.pushed, r.doubted = 0, false, false, false
	if !active.IsZero() {
		r.lastActive = max(r.lastActive, active.UnixNano())
	}
	r.tier = c.tierOf(sl, c.second(now))
}

// shared is a record as others are told of it.
func (c *cache) shared(k uuid.UUID, r *record) SharedReading {
	out := SharedReading{
		ID: k, Words: r.words.unpack(), Sequence: r.sequence, Refusals: r.strikes, Absent: r.absent,
		ReadAt: c.epoch.Add(time.Duration(r.readAt)),
	}
	if r.lastActive != 0 {
		out.LastActive = time.Unix(0, r.lastActive)
	}
	return out
}

// everybody returns the keys of all who are watched.
func (w *watchlist) everybody() []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make([]userKey, 0, len(w.index))
	for i := 1; i < len(w.people); i++ {
		if w.people[i].watchers > 0 {
			keys = append(keys, w.people[i].key)
		}
	}
	return keys
}

// recalled notes that there are fresh readings of people who were to be looked at.
// They join like people who are watched from now on.
func (w *watchlist) recalled(people []heard, now time.Time) {
	if len(people) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range people {
		i, ok := w.find(h.key, h.entry)
		if !ok || w.people[i].place.swept() {
			continue
		}
		w.label(i, h.tier)
		rec, _ := w.cache.peek(h.key)
		if 2*w.cache.sinceAsked(&rec, now) >= time.Duration(w.cache.paces[tierHot].Load()) {
			w.move(i, placeEarly, now)
		} else {
			w.move(i, placeOf(h.tier), now)
		}
	}
}
