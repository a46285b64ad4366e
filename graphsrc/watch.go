package graphsrc

import "time"

// Change is a difference between what was known of a watched person and what
// is known now: in their words or their note, out-of-office state or work
// location. A newer sequence number or a later reading of the same words is none.
type Change struct {
	ID     string  // the person's object id, lower case
	Before Reading // zero if First
	After  Reading
	// First is set if nothing was known of the person before.
	First bool
}

// Notify sets the function that hears of changes, in place of Options.OnChange.
// It is to be called before Start and before the first Watch.
//
// changed is called on the goroutine that read the answer, under no lock of the
// source, when the cache holds all of it and before those who asked have it. So
// it may call the source, and it must not block: the people of one answer,
// callers waiting for them included, wait for it. It is called concurrently,
// but for one person one call follows the other in the order of the readings.
func (s *Source) Notify(changed func(Change)) { s.onChange.Store(&changed) }

func (s *Source) tell(changes []Change) {
	changed := s.onChange.Load()
	if changed == nil || *changed == nil {
		return
	}
	for i := range changes {
		(*changed)(changes[i])
	}
}

// watchBurst is how many people are entered under one hold of the lock.
const watchBurst = 256

// Watch adds one watcher to each object id; what is no object id is ignored. It
// does not block and asks nothing of the caller's context.
//
// From the moment it returns, every difference in what Presence returns is
// reported as a Change, whoever's question brought it to light. A reading made
// at the same time is either what Presence returns once Watch has returned, or a
// Change, or both; so a caller watches first and then takes its snapshot.
//
// People whose reading is not fresh are read at once in the first-look lane. A
// watched person stays in the cache whatever its size, is read once per
// interval of the tier they are in (see the package comment) between Start and
// Close, and counts as fresh for Presence for 1.5 sweeps.
func (s *Source) Watch(ids ...string) {
	look := false
	s.eachKey(ids, func(keys []userKey, now time.Time) {
		if s.watch.add(keys, now) {
			look = true
		}
	})
	s.refresher.replan()
	if look {
		s.looker.wake()
	}
}

// Unwatch takes one watcher from each object id; ids nobody watches are
// ignored. A person without watchers is not read any more, and becomes an
// ordinary one of the cache. A Change that was found before may still arrive.
func (s *Source) Unwatch(ids ...string) {
	s.eachKey(ids, func(keys []userKey, _ time.Time) { s.watch.remove(keys) })
	s.refresher.replan()
}

// eachKey calls do with the keys of ids, a burst at a time.
func (s *Source) eachKey(ids []string, do func(keys []userKey, now time.Time)) {
	now := s.clk.Now()
	keys := make([]userKey, 0, min(len(ids), watchBurst))
	for _, id := range ids {
		k, ok := parseKey(id)
		if !ok {
			continue
		}
		if keys = append(keys, k); len(keys) == watchBurst {
			do(keys, now)
			keys = keys[:0]
		}
	}
	if len(keys) > 0 {
		do(keys, now)
	}
}
