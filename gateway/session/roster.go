package session

import (
	"slices"
	"time"
	"unique"
)

// roster is a running contacts-and-groups subscription with the groups as the
// client knows them.
type roster struct {
	lease
	groups []rosterGroup
}

type rosterGroup struct {
	id, rel, name string
	list          bool
	members       []address
}

// StartContactsAndGroups begins the contacts-and-groups subscription with r,
// or adds d to what is left of it, up to MaxContactsAndGroups. What differs in
// r from a running one's is told as by SetRoster.
func (s *Session) StartContactsAndGroups(d time.Duration, r Roster, now time.Time) (expires time.Time) {
	t := s.at(now)
	s.advance(t)
	fresh := roster{groups: intern(r)}
	if s.roster != nil {
		fresh.lease = s.roster.lease
		s.enqueue(t, difference(s.roster.groups, fresh.groups)...)
	}
	fresh.extend(t, d, MaxContactsAndGroups, s.slowest())
	s.roster = &fresh
	return instant(fresh.expires)
}

// StopContactsAndGroups ends it.
func (s *Session) StopContactsAndGroups(now time.Time) {
	s.advance(s.at(now))
	s.roster = nil
}

// ContactsAndGroups says whether it runs, and until when.
func (s *Session) ContactsAndGroups(now time.Time) (expires time.Time, active bool) {
	s.advance(s.at(now))
	if s.roster == nil {
		return time.Time{}, false
	}
	return instant(s.roster.expires), true
}

// SetRoster tells what the groups are now. What differs from before is queued
// as events, if the contacts-and-groups subscription runs.
func (s *Session) SetRoster(r Roster, now time.Time) {
	t := s.at(now)
	s.advance(t)
	if s.roster == nil {
		return
	}
	fresh := roster{lease: s.roster.lease, groups: intern(r)}
	for _, g := range r.Groups {
		if g.Unread {
			keepMembers(fresh.groups, s.roster.groups, g.ID, g.Rel)
		}
	}
	s.enqueue(t, difference(s.roster.groups, fresh.groups)...)
	s.roster = &fresh
}

// keepMembers gives a group of fresh the members that known has for it.
func keepMembers(fresh, known []rosterGroup, id, rel string) {
	for i := range fresh {
		for _, k := range known {
			if fresh[i].id == k.id && fresh[i].rel == k.rel && k.id == id && k.rel == rel {
				fresh[i].members = k.members
			}
		}
	}
}

// intern copies r; of two groups with the same id and rel the first counts.
func intern(r Roster) []rosterGroup {
	groups := make([]rosterGroup, 0, len(r.Groups))
	seen := make(map[[2]string]struct{}, len(r.Groups))
	for _, g := range r.Groups {
		key := [2]string{g.ID, g.Rel}
		if _, again := seen[key]; again {
			continue
		}
		seen[key] = struct{}{}
		groups = append(groups, rosterGroup{
			id: word(g.ID), rel: word(g.Rel), name: word(g.Name), list: g.List, members: distinct(g.Members),
		})
	}
	return groups
}

// word returns the one copy of s that all sessions share.
func word(s string) string { return unique.Make(s).Value() }

// difference returns the events that lead from one roster to another: who
// left, which groups went, came or changed, who came. The members of a group that
// is no part of the contact list are no contacts of it: the group has changed.
func difference(from, to []rosterGroup) []*Event {
	before, after := byKey(from), byKey(to)
	var events []*Event
	for i := range from {
		g := &from[i]
		if !g.list {
			continue
		}
		var kept []address
		if now := after[g.key()]; now != nil {
			kept = now.members
		}
		events = append(events, inGroup(Deleted, g, without(g.members, kept))...)
	}
	events = append(events, contacts(Deleted, MyContacts, High, without(listed(from), listed(to)))...)
	for i := range from {
		if g := &from[i]; after[g.key()] == nil {
			events = append(events, aboutGroup(Deleted, g))
		}
	}
	for i := range to {
		g := &to[i]
		switch was := before[g.key()]; {
		case was == nil:
			events = append(events, aboutGroup(Added, g))
		case was.name != g.name || !g.list && !sameMembers(was.members, g.members):
			events = append(events, aboutGroup(Updated, g))
		}
	}
	events = append(events, contacts(Added, MyContacts, High, without(listed(to), listed(from)))...)
	for i := range to {
		g := &to[i]
		if !g.list {
			continue
		}
		var had []address
		if was := before[g.key()]; was != nil {
			had = was.members
		}
		events = append(events, inGroup(Added, g, without(g.members, had))...)
	}
	return events
}

func sameMembers(a, b []address) bool {
	return len(a) == len(b) && len(without(a, b)) == 0
}

func (g *rosterGroup) key() [2]string { return [2]string{g.id, g.rel} }

func byKey(groups []rosterGroup) map[[2]string]*rosterGroup {
	m := make(map[[2]string]*rosterGroup, len(groups))
	for i := range groups {
		m[groups[i].key()] = &groups[i]
	}
	return m
}

// listed returns who is in the contact list.
func listed(groups []rosterGroup) []address {
	var all []address
	seen := make(map[address]struct{})
	for i := range groups {
		if !groups[i].list {
			continue
		}
		for _, a := range groups[i].members {
			if _, again := seen[a]; !again {
				seen[a] = struct{}{}
				all = append(all, a)
			}
		}
	}
	return all
}

func inGroup(typ Type, g *rosterGroup, list []address) []*Event {
	class := High
	if slices.Contains([]string{"delegatesGroup", "delegatorsGroup"}, g.rel) {
		class = Low
	}
	events := make([]*Event, len(list))
	for i, a := range list {
		events[i] = &Event{Kind: Contact, Type: typ, Class: class, In: InGroup, Key: a.Value(), Group: g.id, GroupRel: g.rel}
	}
	return events
}

func aboutGroup(typ Type, g *rosterGroup) *Event {
	e := &Event{Kind: Group, Type: typ, Class: High, Key: g.id, Group: g.id, GroupRel: g.rel}
	if typ != Updated {
		e.In = MyGroups
	}
	switch {
	case g.rel == "myOrganizationGroup", typ != Updated && (g.rel == "pinnedGroup" || g.rel == "defaultGroup"):
		e.Class = Low
	}
	return e
}
