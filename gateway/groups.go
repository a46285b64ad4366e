package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"ucwagate/gateway/contactfile"
	"ucwagate/graphsrc"
)

// GroupKind is the kind of a group of contacts; its value is UCWA's rel.
type GroupKind string

// The kinds of groups.
const (
	PinnedGroup         GroupKind = "pinnedGroup"
	DefaultGroup        GroupKind = "defaultGroup"
	MyOrganizationGroup GroupKind = "myOrganizationGroup"
	ContactGroup        GroupKind = "group"
	DistributionGroup   GroupKind = "distributionGroup"
)

// Group is one group of contacts of a user.
type Group struct {
	Kind GroupKind
	// ID is stable and made of lower-case letters, digits and hyphens, so that
	// it survives clients that change the letter case of paths.
	ID   string
	Name string
	// URI is the address of a distribution group, with its scheme.
	URI string
	// Own is true for a group that its user may rename and delete.
	Own bool
	// Listed is true for a distribution group that its user has put on the
	// contact list.
	Listed bool

	source string // Graph's id of the group or folder
}

// DefaultGroupSource says where the default group's contacts come from.
type DefaultGroupSource string

// The sources of the default group.
const (
	FromPeople   DefaultGroupSource = "people"   // the people the user works with
	FromContacts DefaultGroupSource = "contacts" // the mailbox' default contact folder
	FromNothing  DefaultGroupSource = "none"
)

// ContactOptions switches the sources of contacts and groups.
type ContactOptions struct {
	Organization   bool
	Groups         bool
	ContactFolders bool
	Default        DefaultGroupSource
	// Pinned returns the addresses an operator pinned for a user; nil pins nothing.
	Pinned func(owner string) []string
	// File holds contact lists besides; nil is none.
	File *contactfile.File
}

// parallelLookups bounds how many contacts of one group are looked up at once.
const parallelLookups = 16

// Groups returns the groups of p: the pinned and the default group always,
// then what the sources have. The single groups come before the others.
func (g *Gateway) Groups(ctx context.Context, p Principal) ([]Group, error) {
	groups := []Group{
		{Kind: PinnedGroup, ID: "pinned", Name: "Pinned Contacts"},
		{Kind: DefaultGroup, ID: "default", Name: "Other Contacts"},
	}
	list := g.listed(p)
	for _, own := range list.Groups {
		groups = append(groups, Group{Kind: ContactGroup, ID: own.ID, Name: own.Name, Own: g.ContactListWritable()})
	}
	me, err := g.owner(ctx, p)
	if err != nil || me.tenant == nil {
		return groups, err
	}
	if g.contacts.Organization {
		groups = append(groups, Group{Kind: MyOrganizationGroup, ID: "organization", Name: "My Organization"})
	}
	if g.contacts.ContactFolders {
		folders, err := hidden(me.tenant.Source.ContactFolders(ctx, me.id))
		if err != nil {
			return nil, sourceError("The list of contact folders", err)
		}
		for _, f := range folders {
			groups = append(groups, Group{Kind: ContactGroup, ID: shortID(f.ID), Name: f.DisplayName, source: f.ID})
		}
	}
	if g.contacts.Groups {
		joined, err := hidden(me.tenant.Source.MemberOf(ctx, me.id))
		if err != nil {
			return nil, sourceError("The list of groups", err)
		}
		for _, m := range joined {
			if m.Unified && m.Mail != "" {
				groups = append(groups, distributionGroup(m))
			}
		}
	}
	return g.appendListed(ctx, p, groups, list.Distribution), nil
}

// appendListed adds the distribution groups of a user's own list.
func (g *Gateway) appendListed(ctx context.Context, p Principal, groups []Group, list []contactfile.Distribution) []Group {
	for _, d := range list {
		known := slices.IndexFunc(groups, func(one Group) bool { return one.URI == "sip:"+d.Address })
		if known >= 0 {
			groups[known].Listed, groups[known].Name = true, d.Name
			continue
		}
		found, err := g.groupByMail(ctx, p, d.Address)
		if err != nil { // it is gone, or cannot be seen at the moment
			continue
		}
		found.Name, found.Listed = d.Name, true
		groups = append(groups, found)
	}
	return groups
}

// Group finds a group of p by id, in any letter case.
func (g *Gateway) Group(ctx context.Context, p Principal, id string) (Group, error) {
	groups, err := g.Groups(ctx, p)
	if err != nil {
		return Group{}, err
	}
	for _, group := range groups {
		if strings.EqualFold(group.ID, id) {
			return group, nil
		}
	}
	return g.foundGroup(ctx, p, id)
}

// GroupContacts returns the members of a group of p, at most as many as the
// limits allow, without p and without whom p may not see. A distribution group
// that is larger is TooManyContacts.
func (g *Gateway) GroupContacts(ctx context.Context, p Principal, group Group) ([]Person, error) {
	members, err := g.groupContacts(ctx, p, group)
	return g.visible(p.Address, members), err
}

func (g *Gateway) groupContacts(ctx context.Context, p Principal, group Group) ([]Person, error) {
	me, err := g.owner(ctx, p)
	if err != nil {
		return nil, err
	}
	list := g.listed(p)
	if group.Kind == PinnedGroup {
		var addresses []string
		if g.contacts.Pinned != nil {
			addresses = g.contacts.Pinned(p.Address)
		}
		return g.lookupAll(ctx, p, slices.Concat(addresses, list.Pinned))
	}
	if own := slices.IndexFunc(list.Groups, func(one contactfile.Group) bool { return one.ID == group.ID }); own >= 0 && group.source == "" {
		return g.lookupAll(ctx, p, list.Groups[own].Members)
	}
	if me.tenant == nil {
		return nil, nil
	}
	switch group.Kind {
	case MyOrganizationGroup:
		return g.organization(ctx, me)
	case DistributionGroup:
		users, err := hidden(me.tenant.Source.GroupMembers(ctx, group.source))
		if err != nil {
			return nil, sourceError("The member list of the group", err)
		}
		if len(users) > g.limits.Contacts {
			return nil, &Error{Reason: TooManyContacts, Message: fmt.Sprintf("The group has more than %d members.", g.limits.Contacts)}
		}
		return g.persons(me, users), nil
	case ContactGroup:
		contacts, err := hidden(me.tenant.Source.Contacts(ctx, me.id, group.source))
		if err != nil {
			return nil, sourceError("The contact folder", err)
		}
		return g.mailbox(ctx, p, contacts)
	}
	found, err := g.defaultContacts(ctx, p, me)
	if err != nil || len(list.Others) == 0 {
		return found, err
	}
	others, err := g.lookupAll(ctx, p, list.Others)
	if err != nil {
		return nil, err
	}
	found = distinct(append(others, found...), p.Address)
	return found[:min(len(found), g.limits.Contacts)], nil
}

// Contacts returns the contact list of p: the members of all groups that are
// lists of contacts, each person once. Distribution groups are not part of it.
func (g *Gateway) Contacts(ctx context.Context, p Principal) ([]Person, error) {
	groups, err := g.Groups(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []Person
	seen := make(map[string]bool)
	for _, group := range groups {
		if group.Kind == DistributionGroup {
			continue
		}
		members, err := g.GroupContacts(ctx, p, group)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			if !seen[m.Address] && len(all) < g.limits.Contacts {
				seen[m.Address] = true
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// owner finds p in the directory; a user whom the directory does not know has
// no tenant and therefore no groups beyond the fixed ones.
func (g *Gateway) owner(ctx context.Context, p Principal) (Person, error) {
	me, err := g.self(ctx, p)
	if hasReason(err, DestinationNotFound) {
		return Person{Address: p.Address}, nil
	}
	return me, err
}

// organization returns manager, peers and reports.
func (g *Gateway) organization(ctx context.Context, me Person) ([]Person, error) {
	var users []graphsrc.User
	manager, err := me.tenant.Source.Manager(ctx, me.id)
	switch {
	case err == nil:
		users = append(users, manager)
		peers, err := hidden(me.tenant.Source.DirectReports(ctx, manager.ID))
		if err != nil {
			return nil, sourceError("The organisation", err)
		}
		users = append(users, peers...)
	case !isKind(err, graphsrc.KindNotFound, graphsrc.KindForbidden):
		return nil, sourceError("The organisation", err)
	}
	reports, err := hidden(me.tenant.Source.DirectReports(ctx, me.id))
	if err != nil {
		return nil, sourceError("The organisation", err)
	}
	return g.persons(me, append(users, reports...)), nil
}

func (g *Gateway) defaultContacts(ctx context.Context, p Principal, me Person) ([]Person, error) {
	var contacts []graphsrc.MailboxContact
	var err error
	switch g.contacts.Default {
	case FromPeople:
		contacts, err = hidden(me.tenant.Source.People(ctx, me.id))
	case FromContacts:
		contacts, err = hidden(me.tenant.Source.Contacts(ctx, me.id, ""))
	}
	if err != nil {
		return nil, sourceError("The contact list", err)
	}
	return g.mailbox(ctx, p, contacts)
}

// mailbox finds those contacts of a mailbox who have an address in a domain
// that is served.
func (g *Gateway) mailbox(ctx context.Context, p Principal, contacts []graphsrc.MailboxContact) ([]Person, error) {
	var addresses []string
	for _, c := range contacts {
		for _, a := range c.Addresses {
			if clean, err := graphsrc.ParseAddress(a); err == nil && g.tenantOf(clean) != nil {
				addresses = append(addresses, clean)
				break
			}
		}
	}
	return g.lookupAll(ctx, p, addresses)
}

// lookupAll finds people by address; those whom the directory does not know or p
// may not see are left out. The order stays.
func (g *Gateway) lookupAll(ctx context.Context, p Principal, addresses []string) ([]Person, error) {
	if len(addresses) > g.limits.Contacts {
		addresses = addresses[:g.limits.Contacts]
	}
	found := make([]Person, len(addresses))
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(parallelLookups)
	for i, a := range addresses {
		eg.Go(func() error {
			who, err := g.Person(ctx, p, a)
			if hasReason(err, DestinationNotFound) || errors.Is(err, errNotAllowed) {
				return nil
			}
			found[i] = who
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	return distinct(found, p.Address), nil
}

// persons projects directory users as contacts of me.
func (g *Gateway) persons(me Person, users []graphsrc.User) []Person {
	found := make([]Person, 0, len(users))
	for _, u := range users {
		// A group may hold accounts of other kinds; who has no address in a
		// served domain cannot be a contact.
		if p := person(me.tenant, u); g.tenantOf(p.Address) != nil && p.id != me.id {
			found = append(found, p)
		}
	}
	found = distinct(found, me.Address)
	return found[:min(len(found), g.limits.Contacts)]
}

// distinct drops empty and repeated entries and self.
func distinct(people []Person, self string) []Person {
	seen := map[string]bool{"": true, self: true}
	return slices.DeleteFunc(people, func(p Person) bool {
		gone := seen[p.Address]
		seen[p.Address] = true
		return gone
	})
}

// hidden turns the error of a source that is not permitted into an empty list.
func hidden[T any](list []T, err error) ([]T, error) {
	if isKind(err, graphsrc.KindForbidden) {
		return nil, nil
	}
	return list, err
}

func isKind(err error, kinds ...graphsrc.Kind) bool {
	var e *graphsrc.Error
	return errors.As(err, &e) && slices.Contains(kinds, e.Kind)
}

// shortID makes a stable id out of one of Graph's long, case-sensitive ones.
func shortID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:12])
}
