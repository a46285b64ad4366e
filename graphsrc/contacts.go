package graphsrc

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// contactsMemory bounds each kind of list by the entries in all of them.
const contactsMemory = 200_000

// contacts reads whom a user knows. Each kind of list has its own memory and
// its own permission.
type contacts struct {
	graph     Graph
	managers  *memo[*User]
	reports   *memo[[]User]
	memberOf  *memo[[]Group]
	members   *memo[[]User]
	people    *memo[[]MailboxContact]
	folders   *memo[[]ContactFolder]
	contacts  *memo[[]MailboxContact]
	groups    *memo[*Group]
	maxPeople int
	maxGroups int
}

func newContacts(o *Options, life *lifetime, g *grants) (*contacts, error) {
	c := &contacts{graph: o.Graph, maxPeople: o.MaxContacts, maxGroups: o.MaxGroups}
	var errs [8]error
	c.managers, errs[0] = newMemo(contactsMemo[*User](o, life, "get manager", g.manager), contactsMemory, func(*User) int { return 1 })
	c.reports, errs[1] = newMemo(contactsMemo[[]User](o, life, "list direct reports", g.reports), contactsMemory, length)
	c.memberOf, errs[2] = newMemo(contactsMemo[[]Group](o, life, "list groups", g.memberOf), contactsMemory, length)
	c.members, errs[3] = newMemo(contactsMemo[[]User](o, life, "list group members", g.members), contactsMemory, length)
	c.people, errs[4] = newMemo(contactsMemo[[]MailboxContact](o, life, "list people", g.people), contactsMemory, length)
	c.folders, errs[5] = newMemo(contactsMemo[[]ContactFolder](o, life, "list contact folders", g.contacts), contactsMemory, length)
	c.contacts, errs[6] = newMemo(contactsMemo[[]MailboxContact](o, life, "list contacts", g.contacts), contactsMemory, length)
	c.groups, errs[7] = newMemo(contactsMemo[*Group](o, life, "get group", g.groups), contactsMemory, func(*Group) int { return 1 })
	return c, errors.Join(errs[:]...)
}

func contactsMemo[V any](o *Options, life *lifetime, op string, g *grant) *memo[V] {
	return &memo[V]{
		op: op, life: life, clk: o.Clock, timeout: o.Timeout,
		ttl: o.ContactsTTL, negative: o.ContactsTTL, grant: g,
	}
}

func length[E any](list []E) int { return len(list) }

// Manager returns a user's manager; KindNotFound if there is none. This and
// the lists below are remembered for Options.ContactsTTL. Where the permission
// is missing the error is KindForbidden, for some time without asking
// (ErrHidden). Lists are shared: append to them, but do not change their
// entries.
func (s *Source) Manager(ctx context.Context, id string) (User, error) {
	c := s.contacts
	u, err := recall(ctx, c.managers, id, "", func(ctx context.Context, id string) (*User, error) {
		u, err := c.graph.Manager(ctx, id)
		if err != nil {
			return nil, err
		}
		u = tidy(u)
		s.directory.learn([]User{u})
		return &u, nil
	})
	if err != nil {
		return User{}, err
	}
	return *u, nil
}

// DirectReports returns the users whose manager a user is.
func (s *Source) DirectReports(ctx context.Context, id string) ([]User, error) {
	c := s.contacts
	return recall(ctx, c.reports, id, "", func(ctx context.Context, id string) ([]User, error) {
		users, err := c.graph.DirectReports(ctx, id, c.maxPeople)
		return s.learned(users, err)
	})
}

// MemberOf returns the groups a user is a direct member of, of every kind.
func (s *Source) MemberOf(ctx context.Context, id string) ([]Group, error) {
	c := s.contacts
	return recall(ctx, c.memberOf, id, "", func(ctx context.Context, id string) ([]Group, error) {
		groups, err := c.graph.MemberOf(ctx, id, c.maxGroups)
		return slices.Clip(groups), err
	})
}

// Group returns a group; KindNotFound if there is none with the id.
func (s *Source) Group(ctx context.Context, id string) (Group, error) {
	c := s.contacts
	g, err := recall(ctx, c.groups, id, "", func(ctx context.Context, id string) (*Group, error) {
		g, err := c.graph.Group(ctx, id)
		if err != nil {
			return nil, err
		}
		g.ID = strings.ToLower(g.ID)
		return &g, nil
	})
	if err != nil {
		return Group{}, err
	}
	return *g, nil
}

// GroupMembers returns the users in a group.
func (s *Source) GroupMembers(ctx context.Context, groupID string) ([]User, error) {
	c := s.contacts
	return recall(ctx, c.members, groupID, "", func(ctx context.Context, id string) ([]User, error) {
		users, err := c.graph.GroupMembers(ctx, id, c.maxPeople)
		return s.learned(users, err)
	})
}

// People returns the people most relevant to a user; none if the user has no
// mailbox.
func (s *Source) People(ctx context.Context, id string) ([]MailboxContact, error) {
	c := s.contacts
	return recall(ctx, c.people, id, "", func(ctx context.Context, id string) ([]MailboxContact, error) {
		return noMailbox(c.graph.People(ctx, id, c.maxPeople))
	})
}

// ContactFolders returns the contact folders of a user's mailbox; none if the
// user has no mailbox.
func (s *Source) ContactFolders(ctx context.Context, id string) ([]ContactFolder, error) {
	c := s.contacts
	return recall(ctx, c.folders, id, "", func(ctx context.Context, id string) ([]ContactFolder, error) {
		return noMailbox(c.graph.ContactFolders(ctx, id, c.maxGroups))
	})
}

// Contacts returns the contacts of a folder, or of the default folder if
// folderID is empty; none if the user has no mailbox or no such folder.
func (s *Source) Contacts(ctx context.Context, id, folderID string) ([]MailboxContact, error) {
	c := s.contacts
	return recall(ctx, c.contacts, id, folderID, func(ctx context.Context, id string) ([]MailboxContact, error) {
		return noMailbox(c.graph.Contacts(ctx, id, folderID, c.maxPeople))
	})
}

// recall asks a memory for something of the object with an id, and of a
// part of it.
func recall[V any](ctx context.Context, m *memo[V], id, part string, load func(ctx context.Context, id string) (V, error)) (V, error) {
	if _, ok := parseKey(id); !ok {
		var none V
		return none, invalidID(m.op, id)
	}
	id = strings.ToLower(id)
	key := id
	if part != "" {
		key += "/" + part
	}
	return m.get(ctx, key, func(ctx context.Context) (V, error) { return load(ctx, id) })
}

// learned hands users that came as a list to the directory too.
func (s *Source) learned(users []User, err error) ([]User, error) {
	if err != nil {
		return nil, err
	}
	users = tidyAll(users)
	s.directory.learn(users)
	return users, nil
}

// noMailbox makes an empty list of "there is no mailbox".
func noMailbox[V any](list []V, err error) ([]V, error) {
	if e := errorOf(err); e != nil {
		if e.Kind == KindNotFound {
			return nil, nil
		}
		return nil, err
	}
	return slices.Clip(list), nil
}
