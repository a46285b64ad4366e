package graphsrc

import (
	"hash/maphash"
	"math"
	"strings"
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
	// settleTime is how long Graph may say the old and the new of somebody who
	// has just changed: the longest it takes to notify.
	//
	// Source: https://learn.microsoft.com/en-us/graph/change-notifications-overview
	settleTime = time.Minute
	// askedAgain is how long somebody who was asked for is not noted again.
	askedAgain = time.Minute
	// firstSecond is the second of the cache's epoch, so that 0 is long before.
	firstSecond = 1 << 20

	maxShards = 64
	// minShard keeps shards from being so small that an uneven spread of ids
	// evicts long before the cache is full.
	minShard = 512

	unknownWord = "PresenceUnknown"
	offlineWord = "Offline"
)

// record is what is known of one person, 104 bytes and the strings.
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
	known             bool  // the words have been read
	watched           bool  // somebody watches; set by pin alone
	outdated          bool  // the person has said something since; see expire
	covered           bool  // changes are notified; see push.go
	pushed            bool  // words are from a notification that no reading has confirmed
	doubted           bool  // the last answer was not believed
	tier              tier  // as of the last answer
	// changedAt is when the words last changed, see second. Nothing is known of
	// the time before the first reading: it counts as long enough not to be hot.
	changedAt uint32
	// entry is where the watchlist has a watched person. A hint: it may be wrong.
	entry uint32
}

// words is mapping.Presence with its few distinct words stored once for all
// people, and the texts that few people have behind one pointer.
type words struct {
	availability, activity, workLocation unique.Handle[string]
	texts                                *texts
	outOfOffice                          bool
}

type texts struct{ status, outOfOffice string }

// pack returns the words of an answer about somebody of whom other words are
// known; they are mostly the same.
func pack(p *mapping.Presence, known *words) words {
	w := words{
		availability: same(p.Availability, known.availability),
		activity:     same(p.Activity, known.activity),
		workLocation: same(p.WorkLocation, known.workLocation),
		outOfOffice:  p.OutOfOffice,
	}
	if p.StatusMessage != "" || p.OutOfOfficeMessage != "" {
		w.texts = &texts{status: p.StatusMessage, outOfOffice: p.OutOfOfficeMessage}
	}
	return w
}

// same spares the search for a word that is the one known.
func same(word string, known unique.Handle[string]) unique.Handle[string] {
	if known != (unique.Handle[string]{}) && known.Value() == word {
		return known
	}
	return unique.Make(word)
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

// sameState compares what a notification tells.
func (w *words) sameState(o *words) bool {
	return w.availability == o.availability && w.activity == o.activity
}

// gone says that nobody is there of whom news is to be expected soon.
func (w *words) gone() bool {
	availability := w.availability.Value()
	return isUnknown(availability) || strings.EqualFold(availability, offlineWord)
}

func (w *words) unknown() bool { return isUnknown(w.availability.Value()) }

func isUnknown(availability string) bool {
	return availability == "" || strings.EqualFold(availability, unknownWord)
}

// cache keeps the last known presence of at most a fixed number of people, and
// of everybody who is watched beside them.
//
// It is a map of its own, not a cache library, because an answer is merged
// with what is known (see apply) and because a person must stay small:
// records lie in slices without a pointer of their own. Eviction is CLOCK, the
// usual approximation of least recently used: a read only sets a flag, so
// reads of different people share nothing but a read lock of one shard in 64.
type cache struct {
	epoch time.Time
	fresh time.Duration
	// floor is the shortest interval at which watched people are read unasked.
	floor time.Duration
	// stale is how long a good presence outlives refusals, and bounds for how
	// long the reading of a watched person is fresh.
	stale  time.Duration
	seed   maphash.Seed
	shards []shard
	stats  *counters

	// pace is the length of a sweep over the watched people, in nanoseconds; 0
	// while nobody refreshes them. paces are the intervals of the tiers.
	pace  atomic.Int64
	paces [allTiers]atomic.Int64
	// temper is set before the first use.
	temper temper
	// suspects is how many people have a strike.
	suspects atomic.Int64
	// shares says that there are readings of other sources. Set before the first use.
	shares bool
}

func newCache(size int, fresh time.Duration, epoch time.Time, stats *counters) *cache {
	n := 1
	for n < maxShards && size/(n*2) >= minShard {
		n *= 2
	}
	c := &cache{epoch: epoch, fresh: fresh, seed: maphash.MakeSeed(), shards: make([]shard, n), stats: stats, stale: math.MaxInt64, temper: temper{hot: hotFor, quiet: quietAfter, gone: goneAfter}}
	for i := range c.shards {
		c.shards[i].limit = size / n
		c.shards[i].suspects = &c.suspects
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
	return rec, rec.known
}

// ask is get for the question of a client, which it notes. stir says that the
// person is watched and has not been asked for of late.
func (c *cache) ask(k userKey, now time.Time) (rec record, known, stir bool) {
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[k]
	if !ok {
		return record{}, false, false
	}
	sl := &s.slots[i]
	if !sl.used.Load() {
		sl.used.Store(true)
	}
	if second := c.second(now); second-sl.asked.Load() >= uint32(askedAgain/time.Second) {
		sl.asked.Store(second)
		stir = sl.rec.watched
	}
	return sl.rec, sl.rec.known, stir
}

// second is a time in seconds, small enough to be kept for everybody.
func (c *cache) second(t time.Time) uint32 {
	return uint32(t.Sub(c.epoch)/time.Second) + firstSecond
}

// tierOf is the tier somebody is in at a second.
func (c *cache) tierOf(sl *slot, second uint32) tier {
	if !sl.rec.known {
		return tierNormal
	}
	if sl.rec.covered {
		// What is to be confirmed, or was not believed, is read again soon.
		if sl.rec.pushed || sl.rec.doubted {
			return tierHot
		}
		return tierPushed
	}
	return c.tierUncovered(sl, second)
}

// tierUncovered is the tier somebody is in, or would be if they were not covered.
func (c *cache) tierUncovered(sl *slot, second uint32) tier {
	last := max(sl.rec.changedAt, sl.asked.Load())
	// An interactive question may be noted with a later clock than ours.
	idle := time.Duration(second-min(last, second)) * time.Second
	return c.temper.tierAfter(idle, sl.rec.words.gone())
}

// paced takes over the intervals of a plan; none ends the refreshing.
func (c *cache) paced(p *plan) {
	if p == nil {
		p = &plan{}
	}
	c.pace.Store(int64(p.interval))
	for t := range p.tiers {
		c.paces[t].Store(int64(p.tiers[t]))
	}
}

// apply is the one place where an answer becomes what is known of a person.
// It returns the record as it was and as it now stands, and whether its words
// differ (a person never read before differs).
//
//   - An older sequence number is not believed, except the third time in a row.
//   - Words under the number known before a notification are older than it, the
//     first time and soon after it.
//   - PresenceUnknown does not replace a good presence of the last interval
//     (see hold), so that a hiccup of the service does not flicker.
//   - refused marks an id that Graph will not answer for: each time in a row
//     doubles the time until it is asked for again. A good presence stays until
//     it is stale: the fault may be the service's.
func (c *cache) apply(k userKey, p *Presence, at time.Time, refused bool) (before, after record, changed bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.claim(k)
	r := &sl.rec
	before = *r
	if c.shares && r.known && int64(at.Sub(c.epoch)) < r.readAt {
		// Another source has asked later and was answered sooner.
		return before, before, false
	}
	w := pack(&p.Words, &before.words)
	r.checkedAt, r.outdated = int64(at.Sub(c.epoch)), false
	if refused {
		r.strikes = min(r.strikes+1, 32)
	} else {
		r.strikes = 0
	}
	c.suspects.Add(suspect(r) - suspect(&before))
	if r.doubted = !c.believe(r, p.Sequence, &w, refused); !r.doubted {
		changed = c.replace(r, p, &w, at)
	}
	r.tier = c.tierOf(sl, c.second(at))
	return before, *r, changed
}

// believe decides by the rules of apply whether an answer of r.checkedAt says
// something new of r, and notes it if not.
func (c *cache) believe(r *record, sequence string, w *words, refused bool) bool {
	if !r.known {
		return true
	}
	since := time.Duration(r.checkedAt - r.readAt)
	late := r.pushed && sequence != "" && sequence == r.sequence && !r.words.sameState(w) && since < settleTime && r.regressions == 0
	if late || older(sequence, r.sequence) && r.regressions+1 < regressLimit {
		r.regressions++
		c.stats.regressions.Add(1)
		return false
	}
	if refused && !r.words.unknown() && since < c.stale {
		r.strikes = 1
		return false
	}
	if w.unknown() && !r.words.unknown() && since < c.hold(r) {
		c.stats.held.Add(1)
		return false
	}
	return true
}

// replace makes an answer what is known, and reports whether its words differ.
func (c *cache) replace(r *record, p *Presence, w *words, at time.Time) (changed bool) {
	if changed = !r.known || !r.words.equal(w); changed {
		r.words, r.changedAt = *w, c.second(at)
		if !r.known {
			r.changedAt -= uint32(c.temper.hot / time.Second)
		}
		c.stats.changes.Add(1)
	}
	r.sequence, r.readAt, r.regressions, r.known, r.absent = p.Sequence, r.checkedAt, 0, true, false
	r.pushed = false
	if mapping.Active(p.Words) {
		r.lastActive = at.UnixNano()
	}
	return changed
}

// suspect counts a record among the people with a strike.
func suspect(r *record) int64 {
	if r.strikes > 0 {
		return 1
	}
	return 0
}

// hold is how long a good presence outlives PresenceUnknown. Readings are about
// one interval apart, so that exactly one unknown answer is held back: those of
// a watched person come when the tier is due, a little early or late.
func (c *cache) hold(r *record) time.Duration {
	t := r.tier
	if r.covered {
		t = tierHot // an answer that is held back is followed by another one soon
	}
	if pace := time.Duration(c.paces[t].Load()); r.watched && pace > 0 {
		return slack(pace)
	}
	return holdSweeps * c.fresh
}

// slack is the interval and the lateness that is still in time.
func slack(interval time.Duration) time.Duration { return interval + interval/2 }

// older compares sequence numbers as bytes. Numbers that are missing or differ
// in length say nothing, and the order of arrival counts.
func older(next, known string) bool {
	return next != "" && len(next) == len(known) && next < known
}

// isFresh says whether a record may be served without asking again: if it is
// younger than the refresh interval or, for a watched person, than a sweep and a
// half. Otherwise every question about somebody who is refreshed once a minute
// would cost a request although an answer is on its way. When the loop falls
// behind by half a sweep, or the person is quiet and has not been read for as
// as long, questions go to Graph again: tiers make nobody's answer older. The
// changes of a covered person arrive by themselves.
func (c *cache) isFresh(r *record, now time.Time) bool {
	if r.outdated {
		return false
	}
	window := c.fresh
	if r.watched {
		pace := &c.pace
		if r.covered {
			pace = &c.paces[tierPushed]
		}
		window = max(window, min(slack(time.Duration(pace.Load())), c.stale))
	}
	if r.strikes > 0 {
		window = max(window, min(c.fresh<<min(r.strikes, 16), maxQuarantine))
	}
	return c.sinceAsked(r, now) < window
}

// sinceAsked is how long ago Graph last answered for a person, believed or not.
func (c *cache) sinceAsked(r *record, now time.Time) time.Duration {
	return now.Sub(c.epoch) - time.Duration(r.checkedAt)
}

// age is how long ago Graph said what the record holds.
func (c *cache) age(r *record, now time.Time) time.Duration {
	return now.Sub(c.epoch) - time.Duration(r.readAt)
}

// expire makes what is known of a person count as not fresh until the next
// answer, however young it is. Of other sources, an answer to what they asked before
// does not count.
func (c *cache) expire(k userKey, now time.Time) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		s.slots[i].rec.outdated = true
		if c.shares {
			s.slots[i].rec.checkedAt = int64(now.Sub(c.epoch))
		}
	}
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
