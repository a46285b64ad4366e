package graphsrc

import (
	"slices"
	"sync"
	"time"
)

// watchlist is who is watched, how often, and whose turn it is to be read.
//
//	        ┌───────── not fresh ──▶ urgent ──▶ takeUrgent ────┐
//	add ────┤                                                  ▼
//	        └─ fresh ──▶ hot, normal, quiet, pushed, early ──▶ take ─▶ away
//	                      ▲   by tier                 ▲                │ │
//	                      └───────────────────────────┼─── read ───────┘ │
//	                                                  └─ giveBack ───────┘ (failed)
//
// and urge takes somebody from any place to urgent.
//
// The queue of a tier is in the order in which people were read, so that its
// head is the first of it to be due, one interval of the tier later. In early
// are people who are due when they come: those who join with a reading that is
// not young, who are asked for and have not been read for long, or whose batch
// has failed. Take looks at the heads only.
//
// Every person is in one place. The queues are linked through one slice, so
// that joining, leaving and being read cost the same however many there are;
// a person takes 40 bytes and an entry in the index.
type watchlist struct {
	cache *cache // whoever is here is pinned there; its locks come after mu

	mu      sync.Mutex
	index   map[userKey]uint32
	people  []watched // people[0] is nobody: the end of a queue
	free    uint32    // unused entries, linked by next
	queues  [placeCount]queue
	tiers   [allTiers]int // how many are in each, wherever they are
	looking bool          // somebody empties the queue of urgent
}

type watched struct {
	key        userKey
	since      int64 // when they came to the back of a queue; nanoseconds since the cache's epoch
	prev, next uint32
	watchers   uint32
	place      place
	tier       tier
}

// place is where a person is.
type place uint8

const (
	placeAway place = iota // being asked for
	placeHot               // the queues of the tiers
	placeNormal
	placeQuiet
	placePushed
	placeEarly  // due already
	placeUrgent // waits for the first look
	placeCount
)

// swept says that somebody waits for the sweep.
func (p place) swept() bool { return p >= placeHot && p <= placeEarly }

func placeOf(t tier) place { return placeHot + place(t) }

type queue struct {
	head, tail uint32
	n          int
}

func newWatchlist(c *cache) *watchlist {
	return &watchlist{cache: c, index: make(map[userKey]uint32), people: make([]watched, 1)}
}

// size counts the people watched.
func (w *watchlist) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.index)
}

// count counts them by tier.
func (w *watchlist) count() [allTiers]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tiers
}

// add adds a watcher to each key. It reports whether there is somebody to look
// at first whom nobody is about to.
func (w *watchlist) add(keys []userKey, now time.Time) (look bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		i, ok := w.index[k]
		if ok {
			w.people[i].watchers++
			if !w.people[i].place.swept() {
				continue
			}
			// The loop may be late, or not running, or the person quiet.
			if rec, known := w.cache.get(k); !known || !w.cache.isFresh(&rec, now) {
				w.move(i, placeUrgent, now)
			}
			continue
		}
		i = w.entry(k)
		rec := w.cache.pin(k, i, now)
		w.label(i, rec.tier)
		age := w.cache.sinceAsked(&rec, now)
		pace := time.Duration(w.cache.pace.Load())
		switch {
		case !rec.known || !w.cache.isFresh(&rec, now) || pace > 0 && age >= pace:
			w.move(i, placeUrgent, now)
		case 2*age >= time.Duration(w.cache.paces[tierHot].Load()):
			w.move(i, placeEarly, now)
		default:
			// Behind people of the same age, or a little older.
			w.move(i, placeHot, now)
		}
	}
	return w.startLooking()
}

// stir makes somebody hot for whom a client has asked.
func (w *watchlist) stir(k userKey, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[k]
	if !ok || w.people[i].tier == tierHot || w.people[i].tier == tierPushed {
		return
	}
	w.label(i, tierHot)
	p := &w.people[i]
	if !p.place.swept() || p.place == placeEarly || p.place == placeHot {
		return
	}
	hot := w.cache.paces[tierHot].Load()
	at := w.at(now)
	switch {
	case p.since+w.cache.paces[p.place-placeHot].Load() <= at+hot:
		// They are due as soon where they are; so it is without tiers.
	case 2*(at-p.since) >= hot && at-p.since >= int64(w.cache.floor):
		w.move(i, placeEarly, now)
	default:
		w.move(i, placeHot, now)
	}
}

// urge makes somebody who is watched the next to be looked at, whatever is known
// of them. It reports like add.
func (w *watchlist) urge(k userKey, now time.Time) (look bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[k]
	if !ok {
		return false
	}
	if w.people[i].place != placeUrgent {
		w.move(i, placeUrgent, now)
	}
	return w.startLooking()
}

// startLooking says that somebody must begin to empty urgent. The caller holds mu.
func (w *watchlist) startLooking() bool {
	if w.queues[placeUrgent].n == 0 || w.looking {
		return false
	}
	w.looking = true
	return true
}

// remove takes a watcher from each key.
func (w *watchlist) remove(keys []userKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		i, ok := w.index[k]
		if !ok {
			continue
		}
		if w.people[i].watchers--; w.people[i].watchers > 0 {
			continue
		}
		w.unlink(i)
		w.tiers[w.people[i].tier]--
		delete(w.index, k)
		w.people[i] = watched{next: w.free}
		w.free = i
		w.cache.unpin(k)
		w.shrink()
	}
}

// heard is somebody watched who has been read, and the tier they are in now.
type heard struct {
	key   userKey
	tier  tier
	entry uint32 // where they are probably
}

// read notes that people have been read, by whomever: they go to the back of
// their tier.
func (w *watchlist) read(people []heard, at time.Time) {
	if len(people) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range people {
		if i, ok := w.find(h.key, h.entry); ok {
			t := h.tier
			if t == tierPushed {
				t = w.cache.tierNow(h.key, at) // they may have been uncovered meanwhile
			}
			w.label(i, t)
			w.move(i, placeOf(t), at)
		}
	}
}

// find is where somebody is. In a large map that is a miss of the processor's
// cache, which a good guess spares.
func (w *watchlist) find(k userKey, guess uint32) (i uint32, ok bool) {
	if int(guess) < len(w.people) && w.people[guess].key == k && w.people[guess].watchers > 0 {
		return guess, true
	}
	i, ok = w.index[k]
	return i, ok
}

// take takes the n people who are due first by a plan, however long that may
// still be; with tiers nobody whose turn was less than the floor ago. Those whom
// Graph refuses and who are left alone for now keep their place in the round but
// are not asked for: seen counts them too.
func (w *watchlist) take(n int, p *plan, now time.Time) (keys []userKey, seen int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := 0
	for at := placeHot; at <= placeEarly; at++ {
		waiting += w.queues[at].n
	}
	n = min(n, waiting)
	keys = make([]userKey, 0, n)
	lone := 0
	for ; seen < n; seen++ {
		i := w.first(p, w.at(now))
		if i == 0 {
			break
		}
		k := w.people[i].key
		if w.cache.suspects.Load() > 0 {
			if rec, _ := w.cache.get(k); rec.strikes > 0 {
				if lone == maxLone || w.cache.isFresh(&rec, now) {
					w.move(i, placeOf(w.people[i].tier), now)
					continue
				}
				lone++
			}
		}
		w.unlink(i)
		keys = append(keys, k)
	}
	return keys, seen
}

// first is who is due first, 0 if nobody may be asked for. Of equals those who
// came early go first, so that a batch that failed is together again.
func (w *watchlist) first(p *plan, at int64) (first uint32) {
	var earliest int64
	for q := placeEarly; q >= placeHot; q-- {
		i := w.queues[q].head
		if i == 0 {
			continue
		}
		due := w.people[i].since
		if q != placeEarly {
			if p.tiered() && at-due < int64(p.floor) {
				continue
			}
			due += int64(p.tiers[q-placeHot])
		}
		if first == 0 || due < earliest {
			first, earliest = i, due
		}
	}
	return first
}

// takeUrgent takes up to n people who wait for their first look. If there is
// none, whoever empties the queue is done.
func (w *watchlist) takeUrgent(n int) []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, w.queues[placeUrgent].n)
	if n == 0 {
		w.looking = false
		return nil
	}
	keys := make([]userKey, 0, n)
	for range n {
		i := w.queues[placeUrgent].head
		w.unlink(i)
		keys = append(keys, w.people[i].key)
	}
	return keys
}

// away keeps the keys of people who are still away: not read meanwhile, not
// left, not taken by another.
func (w *watchlist) away(keys []userKey) []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := keys[:0]
	for _, k := range keys {
		if i, ok := w.index[k]; ok && w.people[i].place == placeAway {
			kept = append(kept, k)
		}
	}
	return kept
}

// giveBack returns those of keys who are still away to the front, in their
// order.
func (w *watchlist) giveBack(keys []userKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := 0
	for i := range w.queues {
		waiting += w.queues[i].n
	}
	if waiting == len(w.index) {
		return // nobody is away, as usual
	}
	for _, k := range slices.Backward(keys) {
		if i, ok := w.index[k]; ok && w.people[i].place == placeAway {
			w.pushFront(i, placeEarly)
		}
	}
}

// pass lets others go first: somebody who is still away goes to the back of
// those who wait longest, whatever their tier.
func (w *watchlist) pass(k userKey, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.index[k]; ok && w.people[i].place == placeAway {
		w.move(i, placeQuiet, now)
	}
}

// at is a time as the list keeps it.
func (w *watchlist) at(t time.Time) int64 { return int64(t.Sub(w.cache.epoch)) }

// label puts somebody in a tier, and leaves them where they are.
func (w *watchlist) label(i uint32, t tier) {
	p := &w.people[i]
	w.tiers[p.tier]--
	w.tiers[t]++
	p.tier = t
}

// move takes somebody from where they are to the back of a queue.
func (w *watchlist) move(i uint32, to place, now time.Time) {
	w.unlink(i)
	w.people[i].since = w.at(now)
	w.push(i, to)
}

// entry makes an entry for somebody new, in no queue.
func (w *watchlist) entry(k userKey) uint32 {
	i := w.free
	if i != 0 {
		w.free = w.people[i].next
	} else {
		i = uint32(len(w.people))
		w.people = append(w.people, watched{})
	}
	w.people[i] = watched{key: k, watchers: 1, tier: tierNormal}
	w.tiers[tierNormal]++
	w.index[k] = i
	return i
}

// push puts somebody who is in no queue at the end of one.
func (w *watchlist) push(i uint32, at place) {
	p, q := &w.people[i], &w.queues[at]
	p.prev, p.next, p.place = q.tail, 0, at
	if q.tail == 0 {
		q.head = i
	} else {
		w.people[q.tail].next = i
	}
	q.tail = i
	q.n++
}

func (w *watchlist) pushFront(i uint32, at place) {
	p, q := &w.people[i], &w.queues[at]
	p.prev, p.next, p.place = 0, q.head, at
	if q.head == 0 {
		q.tail = i
	} else {
		w.people[q.head].prev = i
	}
	q.head = i
	q.n++
}

// unlink takes somebody out of the queue they are in, if they are in one.
func (w *watchlist) unlink(i uint32) {
	p := &w.people[i]
	if p.place == placeAway {
		return
	}
	q := &w.queues[p.place]
	if p.prev == 0 {
		q.head = p.next
	} else {
		w.people[p.prev].next = p.next
	}
	if p.next == 0 {
		q.tail = p.prev
	} else {
		w.people[p.next].prev = p.prev
	}
	p.prev, p.next, p.place = 0, 0, placeAway
	q.n--
}

// shrink gives memory back when most of the entries are unused.
func (w *watchlist) shrink() {
	if len(w.people) <= minShrink || len(w.index) >= len(w.people)/4 {
		return
	}
	old, queues := w.people, w.queues
	w.people = make([]watched, 1, 2*len(w.index)+1)
	w.index = make(map[userKey]uint32, len(w.index))
	w.free, w.queues, w.tiers = 0, [placeCount]queue{}, [allTiers]int{}
	keep := func(p *watched) uint32 {
		i := w.entry(p.key)
		w.label(i, p.tier)
		w.people[i].watchers, w.people[i].since = p.watchers, p.since
		return i
	}
	for at := placeHot; at < placeCount; at++ {
		for i := queues[at].head; i != 0; i = old[i].next {
			w.push(keep(&old[i]), at)
		}
	}
	for i := range old {
		if old[i].watchers > 0 && old[i].place == placeAway {
			keep(&old[i])
		}
	}
}
