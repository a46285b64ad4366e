package session

import (
	"maps"
	"slices"
	"unique"
)

// scanned is up to how many members of all subscriptions together are searched
// one by one. Beyond, a count for each address is kept. Nearly all
// applications stay below, and the count costs more than their lists.
const scanned = 64

// Watched returns the distinct addresses whose changes concern the session:
// those of all subscriptions, and the user's own.
func (s *Session) Watched() []string {
	all := s.Subscribed()
	if s.self != nil && !s.holds(s.self.owner) {
		all = append(all, s.self.owner.Value())
	}
	return all
}

// Watches says whether a subscription holds the address.
func (s *Session) Watches(addr string) bool {
	return len(s.subs) > 0 && s.holds(unique.Make(addr))
}

// Subscribed returns the distinct addresses of all subscriptions, in the order
// in which they came.
func (s *Session) Subscribed() []string {
	n := s.members()
	if n == 0 {
		return nil
	}
	all := make([]string, 0, n)
	var seen map[address]struct{}
	if len(s.subs) > 1 {
		seen = make(map[address]struct{}, n)
	}
	for i := range s.subs {
		for _, a := range s.subs[i].members {
			if seen != nil {
				if _, again := seen[a]; again {
					continue
				}
				seen[a] = struct{}{}
			}
			all = append(all, a.Value())
		}
	}
	return all
}

// TakeInterest returns the addresses that came to be watched, and that are
// watched no longer, since the last call. One that left and came back is in
// neither list.
func (s *Session) TakeInterest() (entered, left []string) {
	for a, in := range s.changed {
		if in {
			entered = append(entered, a.Value())
		} else {
			left = append(left, a.Value())
		}
	}
	s.changed = nil
	slices.Sort(entered)
	slices.Sort(left)
	return entered, left
}

func (s *Session) holds(a address) bool {
	if s.held != nil {
		return s.held[a] > 0
	}
	for i := range s.subs {
		if slices.Contains(s.subs[i].members, a) {
			return true
		}
	}
	return false
}

// members is the number of members of all subscriptions.
func (s *Session) members() int {
	n := 0
	for i := range s.subs {
		n += len(s.subs[i].members)
	}
	return n
}

// attach gives the subscription at i more members, and returns those that no
// subscription held before. They must not be members of it yet.
func (s *Session) attach(i int, more []address) (fresh []address) {
	for _, a := range more {
		if !s.holds(a) {
			fresh = append(fresh, a)
			s.noteUnlessOwn(a, true)
		}
	}
	sub := &s.subs[i]
	sub.members = slices.Concat(sub.members, more)
	switch {
	case s.held != nil:
		s.ownHeld()
		for _, a := range more {
			s.held[a]++
		}
	case s.members() > scanned:
		s.count()
	}
	return fresh
}

// detach takes members away from the subscription at i, and returns those that
// no subscription holds any more. They must be members of it.
func (s *Session) detach(i int, less []address) (gone []address) {
	sub := &s.subs[i]
	if len(less) == len(sub.members) {
		sub.members = nil
	} else {
		out := make(map[address]struct{}, len(less))
		for _, a := range less {
			out[a] = struct{}{}
		}
		kept := make([]address, 0, len(sub.members)-len(less))
		for _, a := range sub.members {
			if _, ok := out[a]; !ok {
				kept = append(kept, a)
			}
		}
		sub.members = kept
	}
	if s.held != nil {
		s.ownHeld()
		for _, a := range less {
			if s.held[a]--; s.held[a] <= 0 {
				delete(s.held, a)
			}
		}
		if s.members() <= scanned/2 {
			s.held = nil
		}
	}
	for _, a := range less {
		if !s.holds(a) {
			gone = append(gone, a)
			s.noteUnlessOwn(a, false)
		}
	}
	return gone
}

// noteUnlessOwn is note for an address that may be watched already, or still,
// because it is the user's own.
func (s *Session) noteUnlessOwn(a address, entered bool) {
	if !s.owns(a) {
		s.note(a, entered)
	}
}

func (s *Session) ownHeld() {
	if s.heldShared {
		s.held, s.heldShared = maps.Clone(s.held), false
	}
}

func (s *Session) count() {
	s.held, s.heldShared = make(map[address]int32, s.members()), false
	for i := range s.subs {
		for _, a := range s.subs[i].members {
			s.held[a]++
		}
	}
}

// note remembers for TakeInterest that nobody, or somebody, held a before.
func (s *Session) note(a address, entered bool) {
	if _, undone := s.changed[a]; undone {
		delete(s.changed, a)
		return
	}
	if s.changed == nil {
		s.changed = make(map[address]bool)
	}
	s.changed[a] = entered
}

// distinct interns addresses and drops repeats.
func distinct(addresses []string) []address {
	list := make([]address, 0, len(addresses))
	seen := make(map[address]struct{}, len(addresses))
	for _, s := range addresses {
		a := unique.Make(s)
		if _, again := seen[a]; !again {
			seen[a] = struct{}{}
			list = append(list, a)
		}
	}
	return list
}

// without returns the members of list that are not in other.
func without(list, other []address) []address {
	if len(other) == 0 {
		return list
	}
	out := make(map[address]struct{}, len(other))
	for _, a := range other {
		out[a] = struct{}{}
	}
	var kept []address
	for _, a := range list {
		if _, ok := out[a]; !ok {
			kept = append(kept, a)
		}
	}
	return kept
}

func values(list []address) []string {
	s := make([]string, len(list))
	for i, a := range list {
		s[i] = a.Value()
	}
	return s
}
