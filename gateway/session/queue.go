package session

import "slices"

// queue holds the events of a channel that no package has taken yet, in order.
// Of the events about one target only what the client needs to know stays:
//
//	in the queue │ comes     │ leaves
//	─────────────┼───────────┼──────────────────────────────────────────
//	added        │ updated   │ added, at its place
//	added        │ deleted   │ nothing
//	updated      │ updated   │ updated, at the later place
//	updated      │ deleted   │ deleted, at the later place
//	deleted      │ added     │ both, in order
//
// What cannot follow in a sound history (added after added, updated after
// deleted, …) changes nothing that the client would notice.
//
// An event that takes an older one's place keeps its age: a stream of changes
// faster than the aggregation timer is released all the same.
type queue struct {
	items  []item // one that vanished has no event
	dead   int    // of items
	index  map[target]spot
	count  [Low + 1]int32 // by class
	oldest [Low + 1]int64 // by class; meaningful where count is not 0
	stale  bool           // oldest is too early somewhere
	shared bool           // items and index belong to a copy as well
}

type item struct {
	event *Event
	at    int64 // since when the client has to be told
	class Class // the most urgent of the events that became this one
}

// target is what events collapse by.
type target struct {
	kind       Kind
	in         In
	key, group string
}

// spot is where the events about a target are: the last one, and one before
// it that stays (deleted, then added), or -1.
type spot struct{ last, before int32 }

// indexed is from how many items on a queue keeps an index.
const indexed = 16

func targetOf(e *Event) target { return target{e.Kind, e.In, e.Key, e.Group} }

func (q *queue) len() int { return len(q.items) - q.dead }

// add queues e, which happened at.
func (q *queue) add(e *Event, at int64) {
	q.own()
	to := targetOf(e)
	where := q.find(to)
	if where.last < 0 {
		q.push(item{e, at, e.Class}, to, -1)
		return
	}
	old := q.items[where.last]
	merged := item{e, min(at, old.at), min(e.Class, old.class)}
	switch old.event.Type {
	case Added:
		switch e.Type {
		case Deleted:
			q.vanish(where.last)
			q.note(to, spot{where.before, -1})
		case Updated:
			merged.event = old.event
			q.enter(merged)
			q.leave(old, merged)
			q.items[where.last] = merged
		}
	case Updated:
		if e.Type == Added {
			// To the client, who knows the target, this is news about it.
			merged.event = old.event
		}
		q.enter(merged)
		q.leave(old, merged)
		q.items[where.last].event = nil
		q.dead++
		q.place(merged, to, -1)
	case Deleted:
		if e.Type == Added {
			q.push(item{e, at, e.Class}, to, where.last)
		}
	}
	q.compact()
}

// take returns the events in order and empties the queue.
func (q *queue) take() []*Event {
	if q.len() == 0 {
		q.clear()
		return nil
	}
	events := make([]*Event, 0, q.len())
	for i := range q.items {
		if e := q.items[i].event; e != nil {
			events = append(events, e)
		}
	}
	q.clear()
	return events
}

func (q *queue) clear() { *q = queue{} }

// due is when the events are to be released, with what Medium and Low wait
// for. Without an event it is never.
func (q *queue) due(medium, low int64) (at int64, ok bool) {
	if q.stale {
		q.recount()
	}
	sooner := func(t int64) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	if q.count[High] > 0 {
		sooner(q.oldest[High])
	}
	if q.count[Medium] > 0 {
		sooner(q.oldest[Medium] + medium)
	}
	if q.count[Low] > 0 {
		sooner(q.oldest[Low] + low)
	}
	return at, ok
}

func (q *queue) shift(by int64) {
	if len(q.items) == 0 {
		return
	}
	q.own()
	for i := range q.items {
		q.items[i].at += by
	}
	for c := range q.oldest {
		q.oldest[c] += by
	}
}

func (q *queue) own() {
	if q.shared {
		q.items, q.index, q.shared = slices.Clone(q.items), nil, false
	}
}

func (q *queue) find(to target) spot {
	if q.index == nil && len(q.items) > indexed {
		q.reindex()
	}
	if q.index != nil {
		if where, ok := q.index[to]; ok {
			return where
		}
		return spot{-1, -1}
	}
	where := spot{-1, -1}
	for i := len(q.items) - 1; i >= 0; i-- {
		if e := q.items[i].event; e != nil && e.Key == to.key && targetOf(e) == to {
			if where.last >= 0 {
				where.before = int32(i)
				break
			}
			where.last = int32(i)
		}
	}
	return where
}

func (q *queue) reindex() {
	q.index = make(map[target]spot, len(q.items))
	for i := range q.items {
		if e := q.items[i].event; e != nil {
			to := targetOf(e)
			before := int32(-1)
			if where, ok := q.index[to]; ok {
				before = where.last
			}
			q.index[to] = spot{int32(i), before}
		}
	}
}

func (q *queue) note(to target, where spot) {
	switch {
	case q.index == nil:
	case where.last < 0:
		delete(q.index, to)
	default:
		q.index[to] = where
	}
}

func (q *queue) push(it item, to target, before int32) {
	q.enter(it)
	q.place(it, to, before)
}

func (q *queue) place(it item, to target, before int32) {
	q.items = append(q.items, it)
	q.note(to, spot{int32(len(q.items) - 1), before})
}

func (q *queue) vanish(i int32) {
	q.leave(q.items[i], item{})
	q.items[i].event = nil
	q.dead++
}

// enter and leave keep count and oldest. What leaves may have been the oldest
// of its class, unless what takes its place is as old.
func (q *queue) enter(it item) {
	if q.count[it.class] == 0 || it.at < q.oldest[it.class] {
		q.oldest[it.class] = it.at
	}
	q.count[it.class]++
}

func (q *queue) leave(it, successor item) {
	q.count[it.class]--
	if it.class != successor.class && q.count[it.class] > 0 && it.at <= q.oldest[it.class] {
		q.stale = true
	}
}

func (q *queue) recount() {
	q.stale = false
	var seen [Low + 1]bool
	for i := range q.items {
		it := &q.items[i]
		if it.event != nil && (!seen[it.class] || it.at < q.oldest[it.class]) {
			q.oldest[it.class], seen[it.class] = it.at, true
		}
	}
}

// compact closes the gaps once they are most of the queue, so that it costs
// each event a constant share.
func (q *queue) compact() {
	switch {
	case q.dead == len(q.items):
		q.clear()
	case q.dead > indexed && q.dead > len(q.items)/2:
		q.items = slices.DeleteFunc(q.items, func(it item) bool { return it.event == nil })
		q.dead, q.index = 0, nil
	}
}
