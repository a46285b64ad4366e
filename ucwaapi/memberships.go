package ucwaapi

import (
	"net/http"
	"strings"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// groupMemberships lists who is in which group: myGroupMemberships, and the
// groupMemberships of one group, which a path or groupId names.
func (s *Server) groupMemberships(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	group, err := groupNamed(k, in)
	if err != nil {
		return err
	}
	list, err := s.gateway.Memberships(k.Request().Context(), k.principal, group)
	if err != nil {
		return err
	}
	self := k.links.groupMemberships()
	if group != "" {
		self = k.links.membershipsOfGroup(group)
	}
	items := make([]*representation.Resource, len(list))
	for i, m := range list {
		items[i] = groupMembershipResource(k.links, m)
	}
	r := representation.New("myGroupMemberships", self)
	if s.gateway.ContactListWritable() {
		r.LinkRevision("removeContactFromAllGroups", k.links.removeContactFromAllGroups(), "2")
	}
	return s.send(k, http.StatusOK, r.EmbedAll("myGroupMembership", items))
}

func groupMembershipResource(l links, m gateway.Membership) *representation.Resource {
	return representation.New("myGroupMembership", l.groupMembership(m.Group.ID, m.Contact.Address)).
		Link("contact", l.contact(m.Contact.Address)).
		Link(string(m.Group.Kind), l.group(m.Group.ID))
}

func (s *Server) groupMembership(k *call) error {
	group, address := splitMembership(k.Param("membership"))
	m, err := s.gateway.Membership(k.Request().Context(), k.principal, group, address)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, groupMembershipResource(k.links, m))
}

// addGroupMembership puts a contact into a group, or into the default group.
func (s *Server) addGroupMembership(k *call) error {
	in, err := s.scalar(k, "contactUri", "groupId")
	if err != nil {
		return err
	}
	uri, _ := in.String("contactUri")
	k.concerns(uri)
	group, err := groupNamed(k, in)
	if err != nil {
		return err
	}
	m, err := s.gateway.AddContact(k.Request().Context(), k.principal, group, uri)
	if err != nil {
		return err
	}
	return s.sendCreated(k, groupMembershipResource(k.links, m))
}

func (s *Server) removeGroupMembership(k *call) error {
	group, address := splitMembership(k.Param("membership"))
	k.concerns(address)
	if err := s.gateway.RemoveContact(k.Request().Context(), k.principal, group, address); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) removeContactFromAllGroups(k *call) error {
	in, err := s.scalar(k, "contactUri")
	if err != nil {
		return err
	}
	uri, _ := in.String("contactUri")
	k.concerns(uri)
	if err := s.gateway.RemoveContactFromAllGroups(k.Request().Context(), k.principal, uri); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// createGroup answers 204: an event announces the group.
func (s *Server) createGroup(k *call) error {
	in, err := s.scalar(k, "displayName")
	if err != nil {
		return err
	}
	name, _ := in.Text("displayName")
	if err := s.gateway.CreateGroup(k.Request().Context(), k.principal, name); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// renameGroup is PUT on a group of the user's own.
func (s *Server) renameGroup(k *call) error {
	in, err := s.scalar(k, "name", "id")
	if err != nil {
		return err
	}
	ctx := k.Request().Context()
	g, err := s.gateway.Group(ctx, k.principal, k.Param("group"))
	if err != nil {
		return err
	}
	if g.Own {
		if err := checkPut(k, in, s.groupResource(k, g).ETag(), k.app.PassThrough); err != nil {
			return err
		}
	}
	name, _ := in.Text("name")
	if err := s.gateway.RenameGroup(ctx, k.principal, g, name); err != nil {
		return err
	}
	return s.group(k)
}

func (s *Server) deleteGroup(k *call) error {
	if err := s.gateway.DeleteGroup(k.Request().Context(), k.principal, k.Param("group")); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) addToContactList(k *call) error {
	in, err := s.scalar(k, "displayName", "smtpAddress")
	if err != nil {
		return err
	}
	name, _ := in.Text("displayName")
	mail, _ := in.String("smtpAddress")
	k.concerns(mail)
	if err := s.gateway.AddDistributionGroup(k.Request().Context(), k.principal, name, mail); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) removeFromContactList(k *call) error {
	in, err := s.scalar(k, "groupId")
	if err != nil {
		return err
	}
	group, err := groupID(in)
	if err != nil {
		return err
	}
	if group == "" {
		return gateway.Invalid(gateway.Parameter{Name: "groupId", Problem: "is required: it names the group to remove"})
	}
	if err := s.gateway.RemoveDistributionGroup(k.Request().Context(), k.principal, group); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// privacyRelationships groups the contact list by level. Levels cannot be
// changed: everyone of the enterprise is what Skype made them unless told
// otherwise.
func (s *Server) privacyRelationships(k *call) error {
	byLevel, err := s.relationships(k)
	if err != nil {
		return err
	}
	var items []*representation.Resource
	for _, level := range []string{levelColleagues, levelExternal} {
		if people := byLevel[level]; len(people) > 0 {
			items = append(items, relationshipResource(k.links, level, people))
		}
	}
	return s.send(k, http.StatusOK, representation.New("myPrivacyRelationships", k.links.privacyRelationships()).
		EmbedAll("myPrivacyRelationship", items))
}

func (s *Server) privacyRelationship(k *call) error {
	for _, level := range []string{levelColleagues, levelExternal} {
		if !strings.EqualFold(level, k.Param("level")) {
			continue
		}
		byLevel, err := s.relationships(k)
		if err != nil {
			return err
		}
		return s.send(k, http.StatusOK, relationshipResource(k.links, level, byLevel[level]))
	}
	return &gateway.Error{Reason: gateway.NotFound, Message: "Nobody has that relationship."}
}

func (s *Server) relationships(k *call) (map[string][]gateway.Person, error) {
	contacts, err := s.gateway.Contacts(k.Request().Context(), k.principal)
	if err != nil {
		return nil, err
	}
	byLevel := make(map[string][]gateway.Person)
	for _, who := range contacts {
		level := relationshipLevel(who)
		byLevel[level] = append(byLevel[level], who)
	}
	return byLevel, nil
}

func relationshipResource(l links, level string, people []gateway.Person) *representation.Resource {
	hrefs := make([]string, len(people))
	for i, who := range people {
		hrefs[i] = l.contact(who.Address)
	}
	return representation.New("myPrivacyRelationship", l.privacyRelationship(level)).
		Set("relationshipLevel", level).
		LinkAll("contact", hrefs)
}

// splitMembership reads the last part of a membership's path: group,address.
func splitMembership(s string) (group, address string) {
	group, address, _ = strings.Cut(s, ",")
	return group, address
}

// groupNamed is the group that a path or a parameter names.
func groupNamed(k *call, in *representation.Input) (string, error) {
	if group := k.Param("group"); group != "" {
		return group, nil
	}
	return groupID(in)
}

func groupID(in *representation.Input) (string, error) {
	id, _ := in.String("groupId")
	if len(id) > gateway.MaxGroupName {
		return "", gateway.Invalid(gateway.Parameter{Name: "groupId", Problem: "is longer than 256 characters"})
	}
	return id, nil
}
