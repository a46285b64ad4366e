package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/gateway"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// source is a tenant that does what a test says and fails when it is told to.
// A person's id is "id-" and the part of the principal name before the '@'.
type source struct {
	mu      sync.Mutex
	changed func(graphsrc.Change) error

	users  map[string]graphsrc.User     // by address
	truth  map[string]mapping.Presence  // by id: what Graph would say
	known  map[string]graphsrc.Presence // by id: what Presence returned last
	groups map[string][]graphsrc.User   // members by group id

	managers map[string]graphsrc.User
	reports  map[string][]graphsrc.User
	joined   map[string][]graphsrc.Group
	folders  map[string][]graphsrc.ContactFolder
	contacts map[string][]graphsrc.MailboxContact // by user id, '/' and folder id
	frequent map[string][]graphsrc.MailboxContact

	down  error                    // of every call
	fault map[string]error         // by address: of its look-up; by name of a method: of its calls
	slow  map[string]time.Duration // by address: of its look-up

	remembered map[string]bool // by address: what Known finds

	watchers        map[string]int
	said            []string // what was published
	readOnly        bool
	recounts        atomic.Bool
	age             time.Duration             // of changes when they are reported; 0: it is not said
	photos          map[string]string         // by id
	directoryGroups map[string]graphsrc.Group // by id

	wrong []string       // what broke the contract of Watch and Unwatch
	asked map[string]int // look-ups by address, other calls by name
}

var _ gateway.Source = (*source)(nil)

func newSource(names ...string) *source {
	s := &source{
		users: map[string]graphsrc.User{}, truth: map[string]mapping.Presence{}, known: map[string]graphsrc.Presence{},
		groups: map[string][]graphsrc.User{}, managers: map[string]graphsrc.User{}, reports: map[string][]graphsrc.User{},
		joined: map[string][]graphsrc.Group{}, folders: map[string][]graphsrc.ContactFolder{},
		contacts: map[string][]graphsrc.MailboxContact{}, frequent: map[string][]graphsrc.MailboxContact{},
		remembered: map[string]bool{}, fault: map[string]error{}, photos: map[string]string{}, directoryGroups: map[string]graphsrc.Group{}, slow: map[string]time.Duration{}, watchers: map[string]int{}, asked: map[string]int{},
	}
	for _, n := range names {
		s.hire(n)
	}
	return s
}

func user(name string) graphsrc.User {
	return graphsrc.User{ID: "id-" + name, DisplayName: name, UserPrincipalName: name + "@contoso.com"}
}

// hire adds somebody who is Available, with more addresses if they have some.
func (s *source) hire(name string, aliases ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := user(name)
	for _, a := range append(aliases, u.UserPrincipalName) {
		s.users[a] = u
	}
	s.truth[u.ID] = mapping.Presence{Availability: "Available", Activity: "Available"}
}

// set changes what Graph would say of people, and reads those who are watched.
func (s *source) set(words mapping.Presence, names ...string) {
	s.mu.Lock()
	for _, n := range names {
		s.truth["id-"+n] = words
	}
	s.mu.Unlock()
	s.sweep()
}

// say is set for the words of one availability.
func (s *source) say(availability string, names ...string) {
	s.set(mapping.Presence{Availability: availability, Activity: availability}, names...)
}

// sweep reads everybody who is watched, as the refresh loop does.
func (s *source) sweep() {
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.watchers))
	s.mu.Unlock()
	for _, id := range ids {
		_, _ = s.Presence(context.Background(), id)
	}
}

// fail makes every call fail until it is told nil.
func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// failOne does the same for the look-ups of an address or a method.
func (s *source) failOne(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault[what] = err
}

// watched returns the ids that are watched.
func (s *source) watched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.watchers))
}

func (s *source) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[what]
}

func (s *source) misused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

// Notify implements gateway.Source.
func (s *source) Notify(f func(graphsrc.Change) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil || len(s.watchers) > 0 {
		s.wrong = append(s.wrong, "Notify was called late or twice")
	}
	s.changed = f
}

// Watch implements gateway.Source: whoever nothing is known of is looked at.
func (s *source) Watch(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.watchers[id]++; s.watchers[id] > 1 {
			s.wrong = append(s.wrong, id+" is watched twice by one gateway")
		}
		go func() { _, _ = s.Presence(context.Background(), id) }()
	}
}

// Unwatch implements gateway.Source.
func (s *source) Unwatch(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.watchers[id]--; s.watchers[id] < 0 {
			s.wrong = append(s.wrong, id+" is unwatched but was not watched")
		}
		if s.watchers[id] <= 0 {
			delete(s.watchers, id)
		}
	}
}

// Presence implements gateway.Source. A difference that it finds in somebody
// who is watched is reported, whoever asked.
func (s *source) Presence(_ context.Context, id string) (graphsrc.Reading, error) {
	s.mu.Lock()
	if err := s.failing("Presence"); err != nil {
		s.mu.Unlock()
		return graphsrc.Reading{}, err
	}
	before, had := s.known[id]
	after := graphsrc.Presence{ID: id, Words: s.truth[id]}
	s.known[id] = after
	report := s.watchers[id] > 0 && before != after
	changed := s.changed
	s.mu.Unlock()
	now := graphsrc.Reading{Presence: after, ReadAt: time.Now()}
	if report {
		c := graphsrc.Change{ID: id, Before: graphsrc.Reading{Presence: before}, After: now, First: !had}
		if s.age > 0 {
			c.Known = now.ReadAt.Add(-s.age)
		}
		changed(c)
	}
	return now, nil
}

// Known implements gateway.Source: whom it remembers is a test's choice.
func (s *source) Known(address string) (graphsrc.User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.remembered[address] {
		return graphsrc.User{}, false
	}
	u, ok := s.users[address]
	return u, ok
}

// Lookup implements gateway.Source.
func (s *source) Lookup(ctx context.Context, address string) (graphsrc.User, error) {
	s.mu.Lock()
	delay := s.slow[address]
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return graphsrc.User{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing(address); err != nil {
		return graphsrc.User{}, err
	}
	u, ok := s.users[address]
	if !ok {
		return u, graph(graphsrc.KindNotFound)
	}
	return u, nil
}

// User implements gateway.Source.
func (s *source) User(_ context.Context, id string) (graphsrc.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing("User"); err != nil {
		return graphsrc.User{}, err
	}
	for _, u := range s.users {
		if u.ID == id {
			return u, nil
		}
	}
	return graphsrc.User{}, graph(graphsrc.KindNotFound)
}

// failing is called with the lock held.
func (s *source) failing(what string) error {
	s.asked[what]++
	if s.down != nil {
		return s.down
	}
	return s.fault[what]
}

func read[T any](s *source, method string, from map[string]T, key string) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing(method); err != nil {
		var none T
		return none, err
	}
	return from[key], nil
}

func (s *source) Manager(_ context.Context, id string) (graphsrc.User, error) {
	u, err := read(s, "Manager", s.managers, id)
	if err == nil && u.ID == "" {
		err = graph(graphsrc.KindNotFound)
	}
	return u, err
}

func (s *source) DirectReports(_ context.Context, id string) ([]graphsrc.User, error) {
	return read(s, "DirectReports", s.reports, id)
}

func (s *source) MemberOf(_ context.Context, id string) ([]graphsrc.Group, error) {
	return read(s, "MemberOf", s.joined, id)
}

func (s *source) GroupMembers(_ context.Context, id string) ([]graphsrc.User, error) {
	return read(s, "GroupMembers", s.groups, id)
}

func (s *source) People(_ context.Context, id string) ([]graphsrc.MailboxContact, error) {
	return read(s, "People", s.frequent, id)
}

func (s *source) ContactFolders(_ context.Context, id string) ([]graphsrc.ContactFolder, error) {
	return read(s, "ContactFolders", s.folders, id)
}

func (s *source) Contacts(_ context.Context, id, folder string) ([]graphsrc.MailboxContact, error) {
	return read(s, "Contacts", s.contacts, id+"/"+folder)
}

// graph is an error as Graph gives it.
func graph(kind graphsrc.Kind) *graphsrc.Error {
	return &graphsrc.Error{Op: "ask the fake", Kind: kind, Message: "a secret detail"}
}

// arrange changes the groups and contacts under the lock.
func (s *source) arrange(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func address(name string) string { return fmt.Sprintf("%s@contoso.com", name) }

// published is one thing said to the source, in short: the person, the action
// and its words.
func published(id string, a mapping.GraphAction, lasts time.Duration) string {
	words := []string{strings.TrimPrefix(id, "id-"), a.Method}
	for _, w := range []string{a.Availability, a.Activity, a.Text} {
		if w != "" {
			words = append(words, w)
		}
	}
	if lasts > 0 {
		words = append(words, lasts.String())
	}
	return strings.Join(words, " ")
}

// Publish implements gateway.Source. Like Graph it shows what is published.
func (s *source) Publish(_ context.Context, id string, a mapping.GraphAction, lasts time.Duration) error {
	s.mu.Lock()
	if err := s.failing(a.Method); err != nil {
		s.mu.Unlock()
		return err
	}
	s.said = append(s.said, published(id, a, lasts))
	words := s.truth[id]
	switch a.Method {
	case mapping.MethodSetPresence, mapping.MethodSetUserPreferredPresence:
		words.Availability, words.Activity = a.Availability, a.Activity
	case mapping.MethodClearUserPreferredPresence:
		words.Availability, words.Activity = "Available", "Available"
	case mapping.MethodClearPresence:
		words.Availability, words.Activity = "Offline", "Offline"
	case mapping.MethodSetStatusMessage:
		words.StatusMessage = a.Text
	}
	s.truth[id] = words
	watched := s.watchers[id] > 0
	s.mu.Unlock()
	if watched {
		go func() { _, _ = s.Presence(context.Background(), id) }()
	}
	return nil
}

// MayPublish implements gateway.Source.
func (s *source) Recounts() bool { return s.recounts.Load() }

func (s *source) MayPublish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.readOnly
}

// heard returns what was published since the last call.
func (s *source) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.said
	s.said = nil
	return out
}

// Search implements gateway.Source: it finds who has the text in their name.
func (s *source) Search(_ context.Context, q graphsrc.SearchQuery) (r graphsrc.SearchResult, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing("Search"); err != nil {
		return r, err
	}
	for _, a := range slices.Sorted(maps.Keys(s.users)) {
		if u := s.users[a]; q.Text != "" && strings.Contains(u.DisplayName, strings.TrimPrefix(q.Text, "sip:")) || a == q.Text || a == q.Mail {
			r.Users = append(r.Users, u)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.directoryGroups)) {
		if one := s.directoryGroups[id]; strings.Contains(one.DisplayName, q.Text+q.Mail) {
			r.Groups = append(r.Groups, one)
		}
	}
	if len(r.Users) > q.Limit {
		r.Users, r.Groups, r.More = r.Users[:q.Limit], nil, true
	}
	return r, nil
}

// Group implements gateway.Source.
func (s *source) Group(_ context.Context, id string) (graphsrc.Group, error) {
	one, err := read(s, "Group", s.directoryGroups, id)
	if err == nil && one.ID == "" {
		err = graph(graphsrc.KindNotFound)
	}
	return one, err
}

// Photo implements gateway.Source.
func (s *source) Photo(_ context.Context, id string, px int) (graphsrc.Photo, error) {
	content, err := read(s, "Photo", s.photos, id)
	if err == nil && content == "" {
		err = graph(graphsrc.KindNotFound)
	}
	return graphsrc.Photo{Content: fmt.Appendf(nil, "%s %d", content, px), Type: "image/jpeg"}, err
}
