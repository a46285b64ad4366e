package graphsrc

import (
	"slices"
	"sync"
	"time"
)

// watchlist is who is watched, how often, and whose turn it is to be read.
//
//	        ┌───────────── not fresh ──▶ urgent ──▶ takeUrgent ─┐
//	add ────┤                                                   ▼
//	        └─ fresh ──▶ order ──▶ take ─────────────────────▶ away
//	               front: oldest                                │
//	                 ▲  ▲ back ◀─────── read ───────────────────┤
//	                 └──┴ front ◀────── giveBack (failed) ──────┘
//
// and urge takes somebody from any place to urgent.
//
// Every person is in one place. The queues are linked through one slice, so
// that joining, leaving and being read cost the same however many there are;
// a person takes 32 bytes and an entry in the index.
type watchlist struct {
	cache *cache // whoever is here is pinned there; its locks come after mu

	mu      sync.Mutex
	index   map[userKey]uint32
	people  []watched // people[0] is nobody: the end of a queue
	free    uint32    // unused entries, linked by next
	order   queue
	urgent  queue
	looking bool // somebody empties urgent
}

type watched struct {
	key        userKey
	prev, next uint32
	watchers   uint32
	place      place
}

// place is where a person is.
type place uint8

const (
	placeAway   place = iota // being asked for
	placeOrder               // waits for the sweep
	placeUrgent              // waits for the first look
)

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

// add adds a watcher to each key. It reports whether there is somebody to look
// at first whom nobody is about to.
func (w *watchlist) add(keys []userKey, now time.Time) (look bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		i, ok := w.index[k]
		if ok {
			w.people[i].watchers++
			if w.people[i].place != placeOrder {
				continue
			}
			// The loop may be late, or not running.
			if rec, known := w.cache.get(k); !known || !w.cache.isFresh(&rec, now) {
				w.unlink(i)
				w.push(&w.urgent, i, placeUrgent)
			}
			continue
		}
		i = w.entry(k)
		rec := w.cache.pin(k)
		switch {
		case !rec.known || !w.cache.isFresh(&rec, now):
			w.push(&w.urgent, i, placeUrgent)
		case 2*w.cache.sinceAsked(&rec, now) >= time.Duration(w.cache.pace.Load()):
			// Nearer to the oldest than to the youngest. At the back they would
			// grow almost two intervals old.
			w.pushFront(&w.order, i, placeOrder)
		default:
			w.push(&w.order, i, placeOrder)
		}
	}
	return w.startLooking()
}

// urge makes somebody who is watched the next to be looked at, whatever is known
// of them. It reports like add.
func (w *watchlist) urge(k userKey) (look bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[k]
	if !ok {
		return false
	}
	if w.people[i].place != placeUrgent {
		w.unlink(i)
		w.push(&w.urgent, i, placeUrgent)
	}
	return w.startLooking()
}

// startLooking says that somebody must begin to empty urgent. The caller holds mu.
func (w *watchlist) startLooking() bool {
	if w.urgent.n == 0 || w.looking {
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
		delete(w.index, k)
		w.people[i] = watched{next: w.free}
		w.free = i
		w.cache.unpin(k)
		w.shrink()
	}
}

// read notes that people have been read, by whomever: they go to the back.
func (w *watchlist) read(keys []userKey) {
	if len(keys) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		if i, ok := w.index[k]; ok {
			w.unlink(i)
			w.push(&w.order, i, placeOrder)
		}
	}
}

// take takes the next n people of the order. Those whom Graph refuses and who
// are left alone for now keep their place in the round but are not asked for.
func (w *watchlist) take(n int, now time.Time) []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, w.order.n)
	keys := make([]userKey, 0, n)
	lone := 0
	for range n {
		i := w.order.head
		w.unlink(i)
		k := w.people[i].key
		if w.cache.suspects.Load() > 0 {
			if rec, _ := w.cache.get(k); rec.strikes > 0 {
				if lone == maxLone || w.cache.isFresh(&rec, now) {
					w.push(&w.order, i, placeOrder)
					continue
				}
				lone++
			}
		}
		w.people[i].place = placeAway
		keys = append(keys, k)
	}
	return keys
}

// takeUrgent takes up to n people who wait for their first look. If there is
// none, whoever empties the queue is done.
func (w *watchlist) takeUrgent(n int) []userKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, w.urgent.n)
	if n == 0 {
		w.looking = false
		return nil
	}
	keys := make([]userKey, 0, n)
	for range n {
		i := w.urgent.head
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
	for _, k := range slices.Backward(keys) {
		if i, ok := w.index[k]; ok && w.people[i].place == placeAway {
			w.pushFront(&w.order, i, placeOrder)
		}
	}
}

// pass lets others go first: somebody who is still away goes to the back.
func (w *watchlist) pass(k userKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.index[k]; ok && w.people[i].place == placeAway {
		w.push(&w.order, i, placeOrder)
	}
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
	w.people[i] = watched{key: k, watchers: 1}
	w.index[k] = i
	return i
}

// push puts somebody who is in no queue at the end of one.
func (w *watchlist) push(q *queue, i uint32, at place) {
	p := &w.people[i]
	p.prev, p.next, p.place = q.tail, 0, at
	if q.tail == 0 {
		q.head = i
	} else {
		w.people[q.tail].next = i
	}
	q.tail = i
	q.n++
}

func (w *watchlist) pushFront(q *queue, i uint32, at place) {
	p := &w.people[i]
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
	var q *queue
	switch p.place {
	case placeOrder:
		q = &w.order
	case placeUrgent:
		q = &w.urgent
	default:
		return
	}
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
	old, order, urgent := w.people, w.order, w.urgent
	w.people = make([]watched, 1, 2*len(w.index)+1)
	w.index = make(map[userKey]uint32, len(w.index))
	w.free, w.order, w.urgent = 0, queue{}, queue{}
	move := func(p *watched) uint32 {
		i := w.entry(p.key)
		w.people[i].watchers = p.watchers
		return i
	}
	for i := order.head; i != 0; i = old[i].next {
		w.push(&w.order, move(&old[i]), placeOrder)
	}
	for i := urgent.head; i != 0; i = old[i].next {
		w.push(&w.urgent, move(&old[i]), placeUrgent)
	}
	for i := range old {
		if old[i].watchers > 0 && old[i].place == placeAway {
			move(&old[i])
		}
	}
}
