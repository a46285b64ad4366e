package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"ucwagate/gateway/contactfile"
	"ucwagate/graphsrc"
)

// MaxGroupName is the longest name and id of a group, in characters (UCWA
// reference: group, myGroups).
const MaxGroupName = 256

// Membership says that somebody is in a group.
type Membership struct {
	Group   Group
	Contact Person
}

// ContactListWritable says whether users may change their contact lists: those
// in an operator's file. What comes from Graph never changes here.
func (g *Gateway) ContactListWritable() bool {
	return g.contacts.File != nil && g.contacts.File.Writable()
}

// Memberships returns who is in which group of p's contact list. With a group
// id it is that group alone; my-organization groups answer OperationNotSupported.
func (g *Gateway) Memberships(ctx context.Context, p Principal, groupID string) ([]Membership, error) {
	var groups []Group
	if groupID != "" {
		one, err := g.Group(ctx, p, groupID)
		if err != nil {
			return nil, err
		}
		if one.Kind == MyOrganizationGroup || one.Kind == DistributionGroup {
			return nil, &Error{Reason: OperationNotSupported, Message: "The group is not part of the contact list: it has no memberships."}
		}
		groups = []Group{one}
	} else {
		all, err := g.Groups(ctx, p)
		if err != nil {
			return nil, err
		}
		groups = slices.DeleteFunc(all, func(one Group) bool {
			return one.Kind == MyOrganizationGroup || one.Kind == DistributionGroup
		})
	}
	var list []Membership
	for _, one := range groups {
		people, err := g.GroupContacts(ctx, p, one)
		if err != nil {
			return nil, err
		}
		for _, who := range people {
			list = append(list, Membership{one, who})
		}
	}
	return list, nil
}

// Membership finds one; NotFound says that the contact is not in that group.
func (g *Gateway) Membership(ctx context.Context, p Principal, groupID, address string) (Membership, error) {
	clean, ok := lenientAddress(address)
	if ok && groupID != "" {
		list, err := g.Memberships(ctx, p, groupID)
		if err != nil {
			return Membership{}, err
		}
		for _, m := range list {
			if m.Contact.Address == clean {
				return m, nil
			}
		}
	}
	return Membership{}, &Error{Reason: NotFound, Message: "The contact is not in that group."}
}

// AddContact puts somebody into a group of p's contact list; an empty group id
// means the default group.
func (g *Gateway) AddContact(ctx context.Context, p Principal, groupID, uri string) (Membership, error) {
	address, err := contactURI(uri)
	if err != nil {
		return Membership{}, err
	}
	if err := g.requireWritable(); err != nil {
		return Membership{}, err
	}
	if address == p.Address {
		return Membership{}, Invalid(Parameter{"contactUri", "must be somebody else's address"})
	}
	if groupID == "" {
		groupID = contactfile.Default
	}
	group, err := g.Group(ctx, p, groupID)
	if err != nil {
		return Membership{}, err
	}
	if err := g.changeable(group); err != nil {
		return Membership{}, err
	}
	who, err := g.Person(ctx, p, address)
	if err != nil {
		return Membership{}, err
	}
	switch _, err := g.Membership(ctx, p, group.ID, address); {
	case err == nil: // from another source perhaps
		return Membership{}, &Error{Reason: AlreadyExists, Message: "The contact is in that group already."}
	case !hasReason(err, NotFound):
		return Membership{}, err
	}
	if err := g.change(ctx, p, "contactUri", g.contacts.File.AddMember(p.Address, group.ID, address)); err != nil {
		return Membership{}, err
	}
	return Membership{group, who}, nil
}

// RemoveContact takes somebody out of one group of p's contact list.
func (g *Gateway) RemoveContact(ctx context.Context, p Principal, groupID, uri string) error {
	if err := g.requireWritable(); err != nil {
		return err
	}
	m, err := g.Membership(ctx, p, groupID, uri)
	if err != nil {
		return err
	}
	if err := g.changeable(m.Group); err != nil {
		return err
	}
	err = g.contacts.File.RemoveMember(p.Address, m.Group.ID, m.Contact.Address)
	if errors.Is(err, contactfile.ErrNotFound) {
		return errFromElsewhere
	}
	return g.change(ctx, p, "contactUri", err)
}

// errFromElsewhere refuses to remove a contact whom another source shows.
var errFromElsewhere = &Error{Reason: OperationNotSupported, Message: "The contact comes from elsewhere, and cannot be removed here."}

// RemoveContactFromAllGroups takes somebody out of p's contact list.
func (g *Gateway) RemoveContactFromAllGroups(ctx context.Context, p Principal, uri string) error {
	address, err := contactURI(uri)
	if err != nil {
		return err
	}
	if err := g.requireWritable(); err != nil {
		return err
	}
	err = g.contacts.File.RemoveContact(p.Address, address)
	if errors.Is(err, contactfile.ErrNotFound) {
		contacts, listErr := g.Contacts(ctx, p)
		if listErr != nil {
			return listErr
		}
		if slices.ContainsFunc(contacts, func(who Person) bool { return who.Address == address }) {
			return errFromElsewhere
		}
	}
	return g.change(ctx, p, "contactUri", err)
}

// CreateGroup adds an empty group to p's contact list.
func (g *Gateway) CreateGroup(ctx context.Context, p Principal, name string) error {
	if err := groupName("displayName", name); err != nil {
		return err
	}
	if err := g.requireWritable(); err != nil {
		return err
	}
	_, err := g.contacts.File.CreateGroup(p.Address, name)
	return g.change(ctx, p, "displayName", err)
}

// RenameGroup changes the name of a group of p's own, if it still is what the
// group was; else the error is Changed.
func (g *Gateway) RenameGroup(ctx context.Context, p Principal, was Group, name string) error {
	if err := groupName("name", name); err != nil {
		return err
	}
	if err := g.requireOwn(ctx, p, was.ID); err != nil {
		return err
	}
	_, err := g.contacts.File.RenameGroup(p.Address, was.ID, was.Name, name)
	if errors.Is(err, contactfile.ErrChanged) {
		return changed()
	}
	return g.change(ctx, p, "name", err)
}

// DeleteGroup removes a group of p's own with the memberships in it.
func (g *Gateway) DeleteGroup(ctx context.Context, p Principal, id string) error {
	if err := g.requireOwn(ctx, p, id); err != nil {
		return err
	}
	return g.change(ctx, p, "groupId", g.contacts.File.DeleteGroup(p.Address, id))
}

// AddDistributionGroup puts a distribution group on p's contact list.
func (g *Gateway) AddDistributionGroup(ctx context.Context, p Principal, name, mail string) error {
	var problems []Parameter
	var e *Error
	if errors.As(groupName("displayName", name), &e) {
		problems = append(problems, e.Parameters...)
	}
	address, err := graphsrc.ParseAddress(mail)
	if err != nil {
		problems = append(problems, Parameter{"smtpAddress", "is required: an address of the form group@domain"})
	}
	if problems != nil {
		return Invalid(problems...)
	}
	if err := g.requireWritable(); err != nil {
		return err
	}
	if _, err := g.groupByMail(ctx, p, address); err != nil {
		return err
	}
	return g.change(ctx, p, "displayName", g.contacts.File.AddDistribution(p.Address, address, name))
}

// RemoveDistributionGroup takes a distribution group off p's contact list.
func (g *Gateway) RemoveDistributionGroup(ctx context.Context, p Principal, id string) error {
	if err := g.requireWritable(); err != nil {
		return err
	}
	group, err := g.Group(ctx, p, id)
	if err != nil {
		return err
	}
	if group.Kind != DistributionGroup {
		return &Error{Reason: Forbidden, Message: "Only distribution groups can be taken off the contact list."}
	}
	return g.change(ctx, p, "groupId", g.contacts.File.RemoveDistribution(p.Address, strings.TrimPrefix(group.URI, "sip:")))
}

// change takes the outcome of a change to the file; a success is told to the
// user's applications that follow their groups. parameter names what may be
// wrong with the request.
func (g *Gateway) change(ctx context.Context, p Principal, parameter string, err error) error {
	var invalid *contactfile.InvalidError
	switch {
	case err == nil:
		g.rosters.changed(ctx, p)
		return nil
	case errors.As(err, &invalid):
		return Invalid(Parameter{parameter, "must be " + invalid.Allowed})
	case errors.Is(err, contactfile.ErrReadOnly):
		return errReadOnlyList
	case errors.Is(err, contactfile.ErrNotFound):
		return &Error{Reason: NotFound, Message: "The contact list has no such entry.", Err: err}
	case errors.Is(err, contactfile.ErrExists):
		return &Error{Reason: AlreadyExists, Message: "The contact list has that entry already.", Err: err}
	case errors.Is(err, contactfile.ErrTooManyContacts):
		return &Error{Reason: ListFull, Message: fmt.Sprintf("The contact list has %d contacts, as many as it may.", g.limits.Contacts), Err: err}
	case errors.Is(err, contactfile.ErrTooManyGroups):
		return &Error{Reason: TooManyGroups, Message: "The contact list has as many groups as it may.", Err: err}
	}
	return &Error{Reason: Failure, Message: "The contact list could not be changed.", Err: err}
}

// errReadOnlyList is what changing a contact list that cannot be changed
// answers.
var errReadOnlyList = &Error{Reason: Forbidden, Message: "Contact lists cannot be changed through this gateway."}

func (g *Gateway) requireWritable() error {
	if !g.ContactListWritable() {
		return errReadOnlyList
	}
	return nil
}

// changeable says whether contacts can be put into a group and taken out.
func (g *Gateway) changeable(group Group) error {
	if group.Kind == PinnedGroup || group.Kind == DefaultGroup || group.Own {
		return nil
	}
	if group.Kind == DistributionGroup {
		return &Error{Reason: Forbidden, Message: "The members of a distribution group cannot be changed."}
	}
	return &Error{Reason: OperationNotSupported, Message: "The contacts of this group come from elsewhere and cannot be changed."}
}

// requireOwn finds out whether a group may be renamed and deleted.
func (g *Gateway) requireOwn(ctx context.Context, p Principal, id string) error {
	if err := g.requireWritable(); err != nil {
		return err
	}
	group, err := g.Group(ctx, p, id)
	if err != nil {
		return err
	}
	if !group.Own {
		return &Error{Reason: Forbidden, Message: "Only groups that were made here can be changed."}
	}
	return nil
}

func groupName(parameter, name string) error {
	switch n := utf8.RuneCountInString(strings.TrimSpace(name)); {
	case n == 0:
		return Invalid(Parameter{parameter, fmt.Sprintf("is required: 1 to %d characters", MaxGroupName)})
	case n > MaxGroupName:
		return Invalid(tooLong(parameter, n, MaxGroupName))
	}
	return nil
}

func contactURI(uri string) (string, error) {
	switch n := utf8.RuneCountInString(uri); {
	case n == 0:
		return "", Invalid(Parameter{"contactUri", fmt.Sprintf("is required: 1 to %d characters", MaxAddress)})
	case n > MaxAddress:
		return "", Invalid(tooLong("contactUri", n, MaxAddress))
	}
	clean, ok := lenientAddress(uri)
	if !ok {
		return "", Invalid(Parameter{"contactUri", "must be a SIP address of the form sip:user@domain"})
	}
	return clean, nil
}

// listed returns what an operator's file has for p.
func (g *Gateway) listed(p Principal) contactfile.List {
	if g.contacts.File == nil {
		return contactfile.List{}
	}
	list, err := g.contacts.File.List(p.Address)
	if err != nil { // an owner whose address is none
		return contactfile.List{}
	}
	return list
}

// groupByMail finds a distribution group by its address. Whose id it has found
// once it does not search for again: the source remembers groups by id longer
// than searches.
func (g *Gateway) groupByMail(ctx context.Context, p Principal, address string) (Group, error) {
	t := g.tenantOf(p.Address)
	if t == nil {
		return Group{}, noGroup()
	}
	if id, ok := g.groupIDs.get(t, address); ok {
		if one, err := t.Source.Group(ctx, id); err == nil && strings.EqualFold(one.Mail, address) {
			return distributionGroup(one), nil
		}
	}
	found, err := t.Source.Search(ctx, graphsrc.SearchQuery{Mail: address, Limit: MaxSearchLimit})
	if err != nil {
		return Group{}, sourceError("The group", err)
	}
	for _, one := range found.Groups {
		if strings.EqualFold(one.Mail, address) {
			g.groupIDs.put(t, address, one.ID)
			return distributionGroup(one), nil
		}
	}
	return Group{}, &Error{Reason: DestinationNotFound, Message: "There is no distribution group " + address + "."}
}

// groupIDs remembers the ids of distribution groups by address.
type groupIDs struct {
	mu sync.Mutex
	id map[groupAddress]string
}

type groupAddress struct {
	tenant  *Tenant
	address string
}

// maxGroupIDs bounds what is remembered; beyond it all is forgotten.
const maxGroupIDs = 10_000

func (i *groupIDs) get(t *Tenant, address string) (string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id, ok := i.id[groupAddress{t, address}]
	return id, ok
}

func (i *groupIDs) put(t *Tenant, address, id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id == nil || len(i.id) >= maxGroupIDs {
		i.id = make(map[groupAddress]string)
	}
	i.id[groupAddress{t, address}] = id
}
