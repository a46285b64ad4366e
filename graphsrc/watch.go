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
	// Unsure is set if what was known before is not known any more, Before is zero
	// then: anything may differ.
	Unsure bool
	// Known is when other sources were told; zero without them: now.
	Known time.Time
	// Revision tells the changes that several sources share from each other: that of
	// a later change of the person is greater, as two numbers with a dash between
	// them, and a change that comes twice has the same. Empty without other sources.
	Revision string
	// To are those who are to hear of it (AskedBy), since they were shown what was
	// before after the others had heard; nil: all.
	To []string
}

// Notify sets the function that hears of changes, in place of Options.OnChange.
// It is to be called before Start and before the first Watch.
//
// changed is called on the goroutine that read the answer, under no lock of the
// source, when the cache holds all of it and before those who asked have it. So
// it may call the source, and it must not block: the people of one answer,
// callers waiting for them included, wait for it. It is called concurrently,
// but for one person one call follows the other in the order of the readings.
//
// With other sources (Options.Shared) it is called only where Leads, on a goroutine
// of its own and a moment later, for the changes of all; it may block. An error says
// that the change could not be passed on: then it comes again, later ones wait
// for it, and if this source ends meanwhile it comes from another one. So a change
// may come twice. Without other sources an error is ignored.
func (s *Source) Notify(changed func(Change) error) { s.onChange.Store(&changed) }

// report tells of a change that all sources share.
func (s *Source) report(c Change) error {
	changed := s.onChange.Load()
	if changed == nil || *changed == nil {
		return nil
	}
	return (*changed)(c)
}

func (s *Source) tell(changes []Change) {
	changed := s.onChange.Load()
	if changed == nil || *changed == nil {
		return
	}
	for i := range changes {
		_ = (*changed)(changes[i]) // which only sharing repeats
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
		if s.share != nil {
			s.share.watched(keys)
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
