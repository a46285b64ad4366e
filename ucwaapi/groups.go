package ucwaapi

import (
	"net/http"
	"strings"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// manyGroups are the group rels that are arrays by definition, in the order in
// which they follow the single groups.
var manyGroups = []gateway.GroupKind{gateway.ContactGroup, gateway.DistributionGroup}

// myGroups lists the groups of the user, embedded, or as links with
// expand=false. Single groups come first: a sample script stops at an array.
func (s *Server) myGroups(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	expand, err := expanded(in)
	if err != nil {
		return err
	}
	groups, err := s.gateway.Groups(k.Request().Context(), k.principal)
	if err != nil {
		return err
	}
	r := representation.New("myGroups", k.links.myGroups())
	many := make(map[gateway.GroupKind][]*representation.Resource)
	hrefs := make(map[gateway.GroupKind][]string)
	for _, g := range groups {
		switch {
		case g.Kind == gateway.ContactGroup || g.Kind == gateway.DistributionGroup:
			many[g.Kind] = append(many[g.Kind], s.groupResource(k, g))
			hrefs[g.Kind] = append(hrefs[g.Kind], k.links.group(g.ID))
		case expand:
			r.Embed(s.groupResource(k, g))
		default:
			r.Link(string(g.Kind), k.links.group(g.ID))
		}
	}
	for _, kind := range manyGroups {
		if expand {
			r.EmbedAll(string(kind), many[kind])
		} else {
			r.LinkAll(string(kind), hrefs[kind])
		}
	}
	return s.send(k, http.StatusOK, r)
}

func (s *Server) group(k *call) error {
	g, err := s.gateway.Group(k.Request().Context(), k.principal, k.Param("group"))
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, s.groupResource(k, g))
}

// groupResource describes a group. One of the user's own has what a PUT needs.
func (s *Server) groupResource(k *call, g gateway.Group) *representation.Resource {
	l := k.links
	r := representation.New(string(g.Kind), l.group(g.ID)).SetNonEmpty("uri", g.URI).Set("id", g.ID).Set("name", g.Name)
	if g.Kind == gateway.DistributionGroup {
		r.Link("expandDistributionGroup", l.expandDistributionGroup(g.ID)).
			Link("subscribeToGroupPresence", l.subscribeToGroupPresence(g.ID))
		if s.gateway.ContactListWritable() {
			if g.Listed {
				r.Link("removeFromContactList", l.removeFromContactList(g.ID))
			} else {
				r.Link("addToContactList", l.addToContactList(g.ID))
			}
		}
		return r
	}
	r.Link("groupContacts", l.groupContacts(g.ID)).
		Link("subscribeToGroupPresence", l.subscribeToGroupPresence(g.ID))
	if g.Kind != gateway.MyOrganizationGroup {
		r.Link("groupMemberships", l.membershipsOfGroup(g.ID))
	}
	if g.Own {
		r.Set(k.app.PassThrough, passThroughText).Tag()
	}
	return r
}

// expandDistributionGroup is the group with its members embedded.
func (s *Server) expandDistributionGroup(k *call) error {
	ctx := k.Request().Context()
	g, err := s.gateway.Group(ctx, k.principal, k.Param("group"))
	if err != nil {
		return err
	}
	if g.Kind != gateway.DistributionGroup {
		return &gateway.Error{Reason: gateway.NotFound, Message: "The group is not a distribution group."}
	}
	members, err := s.gateway.GroupContacts(ctx, k.principal, g)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, s.groupResource(k, g).EmbedAll("contact", s.contactResources(k.links, members)))
}

// contacts serves myContacts and, with groupId, groupContacts: in the
// documentation they are one URL.
func (s *Server) contacts(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	expand, err := expanded(in)
	if err != nil {
		return err
	}
	ctx := k.Request().Context()
	var members []gateway.Person
	r := representation.New("myContacts", k.links.myContacts())
	if id, ok := in.String("groupId"); ok {
		var g gateway.Group
		if g, err = s.gateway.Group(ctx, k.principal, id); err != nil {
			return err
		}
		r = representation.New("groupContacts", k.links.groupContacts(g.ID))
		members, err = s.gateway.GroupContacts(ctx, k.principal, g)
	} else {
		members, err = s.gateway.Contacts(ctx, k.principal)
	}
	if err != nil {
		return err
	}
	if expand {
		return s.send(k, http.StatusOK, r.EmbedAll("contact", s.contactResources(k.links, members)))
	}
	hrefs := make([]string, len(members))
	for i, m := range members {
		hrefs[i] = k.links.contact(m.Address)
	}
	return s.send(k, http.StatusOK, r.LinkAll("contact", hrefs))
}

func (s *Server) contactResources(l links, people []gateway.Person) []*representation.Resource {
	list := make([]*representation.Resource, len(people))
	for i, p := range people {
		list[i] = s.contactResource(l, p)
	}
	return list
}

// expanded reads the optional parameter expand of the collections: false asks
// for links instead of embedded resources.
func expanded(in *representation.Input) (bool, error) {
	value, ok := in.String("expand")
	switch {
	case !ok || value == "" || strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, gateway.Invalid(gateway.Parameter{Name: "expand", Problem: "must be true or false"})
}
