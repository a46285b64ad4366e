package graphsrc

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"ucwagate/mapping"
)

const (
	// regressLimit is how many readings in a row must carry a lower stamp
	// before it is believed: one or two come from a replica that lags behind,
	// more mean that the service has failed over to another counter.
	regressLimit = 3
	// holdSweeps is for how many refresh intervals after its reading a good
	// presence outlives PresenceUnknown. Readings are one interval apart, so
	// two intervals hold exactly one unknown answer back.
	holdSweeps = 2
	// maxQuarantine bounds how long an id that Graph refuses is left alone.
	maxQuarantine = 10 * time.Minute

	maxShards = 64
	// minShard keeps shards from being so small that an uneven spread of ids
	// evicts long before the cache is full.
	minShard = 512

	unknownWord = "PresenceUnknown"
)

// record is what is known of one person, 80 bytes and the strings.
type record struct {
	words    words
	sequence string
	// readAt is when Graph last said these words, checkedAt when it was last
	// asked; both in nanoseconds since cache.epoch, so that they follow the
	// monotonic clock. They differ where an answer was not believed.
	readAt, checkedAt int64
	lastActive        int64 // Unix nanoseconds, 0 = never seen active
	regressions       uint8 // lower stamps in a row
	absent            bool  // Graph says that the person does not exist
	strikes           uint8 // refusals by Graph in a row
}

// words is mapping.Presence with its few distinct words stored once for all
// people, and the texts that few people have behind one pointer.
type words struct {
	availability, activity, workLocation unique.Handle[string]
	texts                                *texts
	outOfOffice                          bool
}

type texts struct{ status, outOfOffice string }

func pack(p *mapping.Presence) words {
	w := words{
		availability: unique.Make(p.Availability),
		activity:     unique.Make(p.Activity),
		workLocation: unique.Make(p.WorkLocation),
		outOfOffice:  p.OutOfOffice,
	}
	if p.StatusMessage != "" || p.OutOfOfficeMessage != "" {
		w.texts = &texts{status: p.StatusMessage, outOfOffice: p.OutOfOfficeMessage}
	}
	return w
}

func (w *words) unpack() mapping.Presence {
	p := mapping.Presence{
		Availability: w.availability.Value(),
		Activity:     w.activity.Value(),
		WorkLocation: w.workLocation.Value(),
		OutOfOffice:  w.outOfOffice,
	}
	if w.texts != nil {
		p.StatusMessage, p.OutOfOfficeMessage = w.texts.status, w.texts.outOfOffice
	}
	return p
}

func (w *words) equal(o *words) bool {
	if w.availability != o.availability || w.activity != o.activity ||
		w.workLocation != o.workLocation || w.outOfOffice != o.outOfOffice {
		return false
	}
	if w.texts == nil || o.texts == nil {
		return w.texts == o.texts
	}
	return *w.texts == *o.texts
}

func (w *words) unknown() bool { return isUnknown(w.availability.Value()) }

func isUnknown(availability string) bool {
	return availability == "" || strings.EqualFold(availability, unknownWord)
}

// cache keeps the last known presence of at most a fixed number of people.
//
// It is a map of its own, not a cache library, because an answer is merged
// with what is known (see apply) and because a person must stay small:
// records lie in slices without a pointer of their own. Eviction is CLOCK, the
// usual approximation of least recently used: a read only sets a flag, so
// reads of different people share nothing but a read lock of one shard in 64.
type cache struct {
	epoch  time.Time
	fresh  time.Duration
	stale  time.Duration // how long a good presence outlives refusals
	seed   maphash.Seed
	shards []shard
	stats  *counters
}

type shard struct {
	mu    sync.RWMutex
	index map[userKey]uint32
	slots []slot
	limit int
	hand  int
	_     [48]byte // a cache line between the locks of neighbours
}

type slot struct {
	key  userKey
	rec  record
	used atomic.Bool
}

func newCache(size int, fresh time.Duration, epoch time.Time, stats *counters) *cache {
	n := 1
	for n < maxShards && size/(n*2) >= minShard {
		n *= 2
	}
	c := &cache{epoch: epoch, fresh: fresh, seed: maphash.MakeSeed(), shards: make([]shard, n), stats: stats}
	for i := range c.shards {
		c.shards[i].limit = size / n
		c.shards[i].index = make(map[userKey]uint32)
	}
	return c
}

func (c *cache) shard(k userKey) *shard {
	return &c.shards[maphash.Comparable(c.seed, k)&uint64(len(c.shards)-1)]
}

// get copies what is known of a person.
func (c *cache) get(k userKey) (record, bool) {
	s := c.shard(k)
	s.mu.RLock()
	i, ok := s.index[k]
	if !ok {
		s.mu.RUnlock()
		return record{}, false
	}
	sl := &s.slots[i]
	rec := sl.rec
	// Loading first keeps a popular person's cache line shared.
	if !sl.used.Load() {
		sl.used.Store(true)
	}
	s.mu.RUnlock()
	return rec, true
}

// apply is the one place where an answer becomes what is known of a person.
// It returns the record that now stands, and whether its words differ from
// those before (a person never read before differs).
//
//   - An older sequence number is not believed, except the third time in a row.
//   - PresenceUnknown does not replace a good presence of the last two
//     intervals, so that a hiccup of the service does not flicker.
//   - refused marks an id that Graph will not answer for: each time in a row
//     doubles the time until it is asked for again. A good presence stays until
//     it is stale: the fault may be the service's.
func (c *cache) apply(k userKey, p *Presence, at time.Time, refused bool) (rec record, changed bool) {
	w := pack(&p.Words)
	active := mapping.Active(p.Words)
	now := int64(at.Sub(c.epoch))

	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	sl, known := s.claim(k)
	r := &sl.rec
	r.checkedAt = now
	if refused {
		r.strikes = min(r.strikes+1, 32)
	} else {
		r.strikes = 0
	}
	if known && older(p.Sequence, r.sequence) && r.regressions+1 < regressLimit {
		r.regressions++
		c.stats.regressions.Add(1)
		return *r, false
	}
	if refused && known && !r.words.unknown() && time.Duration(now-r.readAt) < c.stale {
		r.strikes = 1
		return *r, false
	}
	if known && w.unknown() && !r.words.unknown() && time.Duration(now-r.readAt) < holdSweeps*c.fresh {
		c.stats.held.Add(1)
		return *r, false
	}
	changed = !known || !r.words.equal(&w)
	if changed {
		r.words = w
		c.stats.changes.Add(1)
	}
	r.sequence, r.readAt, r.regressions, r.absent = p.Sequence, now, 0, false
	if active {
		r.lastActive = at.UnixNano()
	}
	return *r, changed
}

// older compares sequence numbers as bytes. Numbers that are missing or differ
// in length say nothing, and the order of arrival counts.
func older(next, known string) bool {
	return next != "" && len(next) == len(known) && next < known
}

// claim finds a person's slot, or takes one for them, evicting if need be.
// The caller holds the lock.
func (s *shard) claim(k userKey) (sl *slot, known bool) {
	if i, ok := s.index[k]; ok {
		sl = &s.slots[i]
		sl.used.Store(true)
		return sl, true
	}
	i := len(s.slots)
	if i < s.limit {
		s.slots = append(s.slots, slot{})
	} else {
		for s.slots[s.hand].used.Swap(false) {
			s.hand = (s.hand + 1) % len(s.slots)
		}
		i = s.hand
		s.hand = (s.hand + 1) % len(s.slots)
		delete(s.index, s.slots[i].key)
	}
	sl = &s.slots[i]
	sl.key, sl.rec = k, record{}
	// Unused until it is read again: the hand comes back to it only after a
	// whole round, and people in use must outlive passers-by.
	sl.used.Store(false)
	s.index[k] = uint32(i)
	return sl, false
}

// isFresh says whether a record may be served without asking again.
func (c *cache) isFresh(r *record, now time.Time) bool {
	window := c.fresh
	if r.strikes > 0 {
		window = min(c.fresh<<min(r.strikes, 16), maxQuarantine)
		window = max(window, c.fresh)
	}
	return now.Sub(c.epoch)-time.Duration(r.checkedAt) < window
}

// age is how long ago Graph said what the record holds.
func (c *cache) age(r *record, now time.Time) time.Duration {
	return now.Sub(c.epoch) - time.Duration(r.readAt)
}

// mark notes that Graph says a person does not exist.
func (c *cache) mark(k userKey) (rec record) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		s.slots[i].rec.absent = true
		rec = s.slots[i].rec
	}
	return rec
}

// reading shows a record to a caller who asked for id.
func (c *cache) reading(id string, r *record, stale bool) Reading {
	out := Reading{
		Presence: Presence{ID: id, Words: r.words.unpack(), Sequence: r.sequence},
		ReadAt:   c.epoch.Add(time.Duration(r.readAt)),
		Stale:    stale,
	}
	if r.lastActive != 0 {
		out.LastActive = time.Unix(0, r.lastActive)
	}
	return out
}

// size counts the people known.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.slots)
		s.mu.RUnlock()
	}
	return n
}
