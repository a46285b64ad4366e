package session

import (
	"fmt"
	"slices"
	"time"
	"unique"
)

// subscription is a presence subscription. Its lists are replaced, never
// changed in place; see Session.fork.
type subscription struct {
	id      string
	group   bool // follows the group whose id is its own
	members []address
	// barred are members of the group that the client took out.
	barred []address
	lease
}

// event is one about the subscription itself. It names the group of one that
// follows a group, whose resource has other links.
func (s *subscription) event(typ Type) *Event {
	e := &Event{Kind: PresenceSubscription, Type: typ, Class: Medium, Key: s.id}
	if s.group {
		e.Group = s.id
	}
	return e
}

// Subscribe begins an ad-hoc subscription for d. Addresses are in lower case
// and without scheme; repeats are dropped. ErrTooMany refuses the whole
// request, and so does ErrExists.
func (s *Session) Subscribe(id string, addresses []string, d time.Duration, now time.Time) (Subscription, error) {
	t := s.at(now)
	s.advance(t)
	if s.find(id) >= 0 {
		return Subscription{}, fmt.Errorf("subscribing: %w", ErrExists)
	}
	return s.begin(subscription{id: id}, distinct(addresses), d, t)
}

// SubscribeGroup begins a subscription of a group's members for d; its id is
// the group's. One that exists is extended by d and its members are brought up
// to date, those taken out included.
func (s *Session) SubscribeGroup(group string, addresses []string, d time.Duration, now time.Time) (Subscription, bool, error) {
	t := s.at(now)
	s.advance(t)
	members := distinct(addresses)
	i := s.find(group)
	switch {
	case i < 0:
		sub, err := s.begin(subscription{id: group, group: true}, members, d, t)
		return sub, err == nil, err
	case !s.subs[i].group:
		return Subscription{}, false, fmt.Errorf("subscribing to a group: %w", ErrExists)
	case len(members) > s.limits.Members:
		return Subscription{}, false, fmt.Errorf("%w members", ErrTooMany)
	}
	s.subs[i].barred = nil
	s.subs[i].extend(t, d, MaxSubscription, s.slowest())
	s.follow(i, members, t)
	return s.view(i), false, nil
}

// Extend adds d to what is left of a subscription, up to MaxSubscription.
func (s *Session) Extend(id string, d time.Duration, now time.Time) (Subscription, error) {
	t := s.at(now)
	i, err := s.live(id, t)
	if err != nil {
		return Subscription{}, err
	}
	s.subs[i].extend(t, d, MaxSubscription, s.slowest())
	return s.view(i), nil
}

// Unsubscribe ends a subscription.
func (s *Session) Unsubscribe(id string, now time.Time) error {
	t := s.at(now)
	i, err := s.live(id, t)
	if err != nil {
		return err
	}
	s.drop(i, t)
	return nil
}

// AddMembers adds to an ad-hoc subscription and returns the addresses that it
// did not hold yet. ErrTooMany refuses all of them.
func (s *Session) AddMembers(id string, addresses []string, now time.Time) ([]string, error) {
	t := s.at(now)
	i, err := s.live(id, t)
	if err != nil {
		return nil, err
	}
	sub := &s.subs[i]
	if sub.group {
		return nil, ErrGroupSubscription
	}
	more := without(distinct(addresses), sub.members)
	if len(sub.members)+len(more) > s.limits.Members {
		return nil, fmt.Errorf("%w members", ErrTooMany)
	}
	s.join(i, more, t, false)
	return values(more), nil
}

// RemoveMember takes one address out of a subscription. One taken out of a
// group's stays out until the client subscribes to the group again.
func (s *Session) RemoveMember(id, addr string, now time.Time) error {
	t := s.at(now)
	i, err := s.live(id, t)
	if err != nil {
		return err
	}
	sub, a := &s.subs[i], unique.Make(addr)
	if !slices.Contains(sub.members, a) {
		return fmt.Errorf("the member is %w", ErrNotFound)
	}
	if sub.group {
		sub.barred = append(slices.Clip(sub.barred), a)
	}
	s.enqueue(t, contacts(Deleted, SubscribedContacts, Medium, s.detach(i, []address{a}))...)
	return nil
}

// SetGroupMembers tells who is in a group now. Without a subscription of the
// group it does nothing. Of more members than Limits.Members the first count.
func (s *Session) SetGroupMembers(group string, addresses []string, now time.Time) {
	t := s.at(now)
	i, err := s.live(group, t)
	if err != nil || !s.subs[i].group {
		return
	}
	members := without(distinct(addresses), s.subs[i].barred)
	s.follow(i, members[:min(len(members), s.limits.Members)], t)
}

// Subscription returns a subscription that has not expired.
func (s *Session) Subscription(id string, now time.Time) (Subscription, error) {
	i, err := s.live(id, s.at(now))
	if err != nil {
		return Subscription{}, err
	}
	return s.view(i), nil
}

// Subscriptions returns the subscriptions that have not expired, oldest first.
func (s *Session) Subscriptions(now time.Time) []Subscription {
	s.advance(s.at(now))
	views := make([]Subscription, len(s.subs))
	for i := range s.subs {
		views[i] = s.view(i)
	}
	return views
}

// Held is how many subscriptions there are, those included whose end has
// not been noticed yet.
func (s *Session) Held() int { return len(s.subs) }

func (s *Session) find(id string) int {
	return slices.IndexFunc(s.subs, func(sub subscription) bool { return sub.id == id })
}

func (s *Session) live(id string, t int64) (int, error) {
	s.advance(t)
	if i := s.find(id); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("the subscription is %w", ErrNotFound)
}

func (s *Session) view(i int) Subscription {
	sub := &s.subs[i]
	v := Subscription{ID: sub.id, Members: values(sub.members), Expires: instant(sub.expires)}
	if sub.group {
		v.Group = sub.id
	}
	return v
}

func (s *Session) begin(sub subscription, members []address, d time.Duration, t int64) (Subscription, error) {
	switch {
	case len(s.subs) >= s.limits.Subscriptions:
		return Subscription{}, fmt.Errorf("%w subscriptions", ErrTooMany)
	case len(members) > s.limits.Members:
		return Subscription{}, fmt.Errorf("%w members", ErrTooMany)
	}
	sub.extend(t, d, MaxSubscription, s.slowest())
	s.subs = append(s.subs, sub)
	i := len(s.subs) - 1
	s.join(i, members, t, true)
	return s.view(i), nil
}

// join adds members and raises what UCWA says in that order: who is new among
// the subscribed contacts, the subscription itself if it is new, and the
// presence of each member.
func (s *Session) join(i int, members []address, t int64, began bool) {
	events := make([]*Event, 0, 2*len(members)+1)
	events = append(events, contacts(Added, SubscribedContacts, Medium, s.attach(i, members))...)
	if began {
		events = append(events, s.subs[i].event(Added))
	}
	for _, a := range members {
		events = append(events, &Event{Kind: ContactPresence, Type: Updated, Class: Medium, Key: a.Value()})
	}
	s.enqueue(t, events...)
}

// follow makes members the members of the subscription at i.
func (s *Session) follow(i int, members []address, t int64) {
	if gone := without(s.subs[i].members, members); len(gone) > 0 {
		s.enqueue(t, contacts(Deleted, SubscribedContacts, Medium, s.detach(i, gone))...)
	}
	if came := without(members, s.subs[i].members); len(came) > 0 {
		s.join(i, came, t, false)
	}
}

// drop ends the subscription at i.
func (s *Session) drop(i int, t int64) {
	ended := s.subs[i].event(Deleted)
	gone := s.detach(i, s.subs[i].members)
	s.subs = slices.Delete(s.subs, i, i+1)
	if len(s.subs) == 0 {
		s.subs = nil
	}
	events := contacts(Deleted, SubscribedContacts, Medium, gone)
	s.enqueue(t, append(events, ended)...)
}

func contacts(typ Type, in In, class Class, list []address) []*Event {
	events := make([]*Event, len(list))
	for i, a := range list {
		events[i] = &Event{Kind: Contact, Type: typ, Class: class, In: in, Key: a.Value()}
	}
	return events
}
