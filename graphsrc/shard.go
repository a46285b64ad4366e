package graphsrc

import (
	"sync"
	"sync/atomic"
	"time"
)

// minShrink is the number of slots below which nothing is given back.
const minShrink = 1024

// shard is a part of the cache with a lock of its own. Its slots are in two
// parts: people who are watched, whom nothing evicts, and after them the others,
// of whom there are at most limit and around whom the hand of the clock goes.
type shard struct {
	mu     sync.RWMutex
	index  map[userKey]uint32
	slots  []slot
	pinned int // slots[:pinned] are of watched people
	unread int // of them, those without a reading
	limit  int
	hand   int
	// suspects counts the people with a strike, in all shards.
	suspects *atomic.Int64
	_        [24]byte // a cache line between the locks of neighbours
}

type slot struct {
	key  userKey
	rec  record
	used atomic.Bool
	// asked is when a client last asked for the person, see cache.second.
	asked atomic.Uint32
}

// set makes sl what o is. A slot has atomics and must not be copied otherwise.
func (sl *slot) set(o *slot) {
	sl.key, sl.rec = o.key, o.rec
	sl.used.Store(o.used.Load())
	sl.asked.Store(o.asked.Load())
}

// claim finds a person's slot, or takes one for them, evicting if need be. The
// record becomes known with the first reading. The caller holds the lock.
func (s *shard) claim(k userKey) *slot {
	if i, ok := s.index[k]; ok {
		sl := &s.slots[i]
		sl.used.Store(true)
		if !sl.rec.known {
			s.unread--
		}
		return sl
	}
	i := len(s.slots)
	if i-s.pinned < s.limit {
		s.slots = append(s.slots, slot{})
	} else {
		i = s.victim()
		s.hand = i + 1
		s.suspects.Add(-suspect(&s.slots[i].rec))
		delete(s.index, s.slots[i].key)
	}
	sl := &s.slots[i]
	sl.key, sl.rec = k, record{}
	// Unused until it is read again: the hand comes back to it only after a
	// whole round, and people in use must outlive passers-by.
	sl.used.Store(false)
	sl.asked.Store(0)
	s.index[k] = uint32(i)
	return sl
}

// victim turns the hand to somebody who may be forgotten. There must be
// somebody who is not pinned.
func (s *shard) victim() int {
	for ; ; s.hand++ {
		if s.hand < s.pinned || s.hand >= len(s.slots) {
			s.hand = s.pinned
		}
		if !s.slots[s.hand].used.Swap(false) {
			return s.hand
		}
	}
}

// swap exchanges two slots.
func (s *shard) swap(i, j int) {
	if i == j {
		return
	}
	var spare slot
	spare.set(&s.slots[i])
	s.slots[i].set(&s.slots[j])
	s.slots[j].set(&spare)
	s.index[s.slots[i].key] = uint32(i)
	s.index[s.slots[j].key] = uint32(j)
}

// remove forgets the person of a slot that is not pinned.
func (s *shard) remove(i int) {
	last := len(s.slots) - 1
	s.swap(i, last)
	s.suspects.Add(-suspect(&s.slots[last].rec))
	delete(s.index, s.slots[last].key)
	s.slots[last] = slot{}
	s.slots = s.slots[:last]
	if cap(s.slots) <= minShrink || last >= cap(s.slots)/4 {
		return
	}
	// Most of the people have gone: give their memory back.
	slots := make([]slot, last, 2*last)
	s.index = make(map[userKey]uint32, last)
	for n := range slots {
		slots[n].set(&s.slots[n])
		s.index[slots[n].key] = uint32(n)
	}
	s.slots = slots
}

// pin keeps a person from being evicted, and returns what is known of them. entry
// is where the watchlist has them.
func (c *cache) pin(k userKey, entry uint32, now time.Time) record {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index[k]
	if !ok {
		at = uint32(len(s.slots))
		s.slots = append(s.slots, slot{key: k})
		s.index[k] = at
		s.unread++
	}
	if s.slots[at].rec.watched {
		s.slots[at].rec.entry = entry
		return s.slots[at].rec
	}
	s.swap(int(at), s.pinned)
	sl := &s.slots[s.pinned]
	sl.rec.watched, sl.rec.entry, sl.rec.tier = true, entry, c.tierOf(sl, c.second(now))
	s.pinned++
	return sl.rec
}

// unpin makes a person ordinary again: one of those who are evicted when the
// cache is full.
func (c *cache) unpin(k userKey) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index[k]
	if !ok || !s.slots[at].rec.watched {
		return
	}
	s.pinned--
	s.swap(int(at), s.pinned)
	r := &s.slots[s.pinned].rec
	r.watched, r.covered, r.pushed, r.doubted = false, false, false, false
	gone := s.pinned
	if r.known {
		if len(s.slots)-s.pinned <= s.limit {
			return
		}
		gone = s.victim()
	} else {
		s.unread--
	}
	s.remove(gone)
}

// size counts the people known.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.slots) - s.unread
		s.mu.RUnlock()
	}
	return n
}

// ages counts how old the readings of watched people are, and returns their
// mean. People without a reading, and those whom Graph refuses and who are left
// alone for that, do not count. It looks at every watched person, one shard
// after the other: some 20 ms for a million.
func (c *cache) ages(now time.Time) (all Ages, mean time.Duration) {
	var sum float64
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		for j := range s.slots[:s.pinned] {
			r := &s.slots[j].rec
			if !r.known || r.strikes > 0 {
				continue
			}
			age := c.age(r, now)
			all.add(age)
			sum += float64(age)
		}
		s.mu.RUnlock()
	}
	if all.n > 0 {
		mean = time.Duration(sum / float64(all.n))
	}
	return all, mean
}
