package ucwaapi

import (
	"net/http"
	"slices"
	"strings"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/ucwaapi/representation"
)

// subscribe serves the two operations of one URL: with groupId it subscribes to
// a group, with uris to the people named.
func (s *Server) subscribe(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	if group, ok := in.String("groupId"); ok {
		return s.subscribeGroup(k, in, group)
	}
	minutes, err := duration(in)
	if err != nil {
		return err
	}
	addresses, err := contactList(in, "uris", "contactUris")
	if err != nil {
		return err
	}
	sub, err := s.gateway.Subscribe(k.Request().Context(), k.app, addresses, minutes)
	if err != nil {
		return err
	}
	return s.sendCreated(k, presenceSubscriptionResource(k.links, sub.ID, sub.Group != ""))
}

// subscribeToGroupPresence is the form of the reference page, in which the
// group is part of the path and of the query.
func (s *Server) subscribeToGroupPresence(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	group, ok := in.String("groupId")
	if !ok {
		group = k.Param("group")
	}
	return s.subscribeGroup(k, in, group)
}

func (s *Server) subscribeGroup(k *call, in *representation.Input, group string) error {
	minutes, err := duration(in)
	if err != nil {
		return err
	}
	sub, err := s.gateway.SubscribeGroup(k.Request().Context(), k.principal, k.app, group, minutes)
	if err != nil {
		return err
	}
	return s.sendCreated(k, presenceSubscriptionResource(k.links, sub.ID, true))
}

func (s *Server) presenceSubscriptions(k *call) error {
	subs, err := s.gateway.Subscriptions(k.Request().Context(), k.app)
	if err != nil {
		return err
	}
	list := make([]*representation.Resource, len(subs))
	for i, sub := range subs {
		list[i] = presenceSubscriptionResource(k.links, sub.ID, sub.Group != "")
	}
	return s.send(k, http.StatusOK, representation.New("presenceSubscriptions", k.links.presenceSubscriptions()).
		EmbedAll("presenceSubscription", list))
}

func (s *Server) presenceSubscription(k *call) error {
	_, sub, err := s.subscription(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, presenceSubscriptionResource(k.links, sub.ID, sub.Group != ""))
}

// extend prolongs a subscription. The answer is 200, not 201: nothing new came
// to be, and clients accept both.
func (s *Server) extend(k *call) error {
	in, sub, err := s.subscription(k)
	if err != nil {
		return err
	}
	minutes, err := duration(in)
	if err != nil {
		return err
	}
	if sub, err = s.gateway.Extend(k.Request().Context(), k.app, sub.ID, minutes); err != nil {
		return err
	}
	return s.send(k, http.StatusOK, presenceSubscriptionResource(k.links, sub.ID, sub.Group != ""))
}

func (s *Server) unsubscribe(k *call) error {
	_, sub, err := s.subscription(k)
	if err != nil {
		return err
	}
	if err := s.gateway.Unsubscribe(k.Request().Context(), k.app, sub.ID); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// memberships lists who is in one subscription, or in all of them.
func (s *Server) memberships(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	id, ok := in.String("presenceSubscriptionId")
	if !ok && !strings.HasSuffix(k.Path(), "/presencesubscription/memberships") {
		subs, err := s.gateway.Subscriptions(k.Request().Context(), k.app)
		if err != nil {
			return err
		}
		return s.send(k, http.StatusOK, membershipsResource(k.links, k.links.memberships(), subs...))
	}
	sub, err := s.subscriptionNamed(k, id)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, membershipsResource(k.links, k.links.membershipsOf(sub.ID), sub))
}

// addMembers answers with the memberships that are new.
func (s *Server) addMembers(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	id, ok := in.String("presenceSubscriptionId")
	if !ok && !strings.HasSuffix(k.Path(), "/addtopresencesubscription") {
		return gateway.Invalid(gateway.Parameter{Name: "presenceSubscriptionId", Problem: "is required: it names the subscription to add to"})
	}
	sub, err := s.subscriptionNamed(k, id)
	if err != nil {
		return err
	}
	addresses, err := contactList(in, "contactUris", "uris")
	if err != nil {
		return err
	}
	added, err := s.gateway.AddMembers(k.Request().Context(), k.app, sub.ID, addresses)
	if err != nil {
		return err
	}
	return s.sendCreated(k, membershipsResource(k.links, k.links.membershipsOf(sub.ID), session.Subscription{ID: sub.ID, Members: added}))
}

func (s *Server) membership(k *call) error {
	sub, address, err := s.member(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, membershipResource(k.links, sub.ID, address))
}

func (s *Server) removeMember(k *call) error {
	sub, address, err := s.member(k)
	if err != nil {
		return err
	}
	if err := s.gateway.RemoveMember(k.Request().Context(), k.app, sub.ID, address); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) subscribedContacts(k *call) error {
	addresses, err := s.gateway.Subscribed(k.Request().Context(), k.app)
	if err != nil {
		return err
	}
	hrefs := make([]string, len(addresses))
	for i, a := range addresses {
		hrefs[i] = k.links.contact(a)
	}
	return s.send(k, http.StatusOK, representation.New("subscribedContacts", k.links.subscribedContacts()).LinkAll("contact", hrefs))
}

func (s *Server) contactsAndGroupsSubscription(k *call) error {
	c, err := s.gateway.ContactsAndGroups(k.Request().Context(), k.app)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, contactsAndGroupsResource(k.links, c.Active))
}

func (s *Server) startContactsAndGroups(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	minutes, err := duration(in)
	if err != nil {
		return err
	}
	c, err := s.gateway.StartContactsAndGroups(k.Request().Context(), k.principal, k.app, minutes)
	if err != nil {
		return err
	}
	return s.sendCreated(k, contactsAndGroupsResource(k.links, c.Active))
}

func (s *Server) stopContactsAndGroups(k *call) error {
	if err := s.gateway.StopContactsAndGroups(k.Request().Context(), k.app); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func presenceSubscriptionResource(l links, id string, group bool) *representation.Resource {
	r := representation.New("presenceSubscription", l.presenceSubscription(id)).
		Set("id", id).
		Link("memberships", l.membershipsOf(id))
	if !group { // the members of a group are not the client's to choose
		r.Link("addToPresenceSubscription", l.membershipsOf(id))
	}
	return r
}

func membershipsResource(l links, self string, subs ...session.Subscription) *representation.Resource {
	var list []*representation.Resource
	for _, sub := range subs {
		for _, address := range sub.Members {
			list = append(list, membershipResource(l, sub.ID, address))
		}
	}
	return representation.New("presenceSubscriptionMemberships", self).EmbedAll("presenceSubscriptionMembership", list)
}

func membershipResource(l links, subscription, address string) *representation.Resource {
	return representation.New("presenceSubscriptionMembership", l.membership(subscription, address)).
		Link("contact", l.contact(address)).
		Link("presenceSubscription", l.presenceSubscription(subscription))
}

func contactsAndGroupsResource(l links, active bool) *representation.Resource {
	state := "Disconnected"
	if active {
		state = "Connected"
	}
	self := l.contactsAndGroupsSubscription()
	r := representation.New("myContactsAndGroupsSubscription", self).Set("state", state).
		Link("startOrRefreshSubscriptionToContactsAndGroups", self+"/startOrRefresh")
	if active {
		r.Link("stopSubscriptionToContactsAndGroups", self+"/stop")
	}
	return r
}

// subscription finds the subscription that a path names.
func (s *Server) subscription(k *call) (*representation.Input, session.Subscription, error) {
	in, err := s.input(k)
	if err != nil {
		return nil, session.Subscription{}, err
	}
	id := k.Param("subscription")
	if id == "" {
		id, _ = in.String("presenceSubscriptionId")
	}
	sub, err := s.subscriptionNamed(k, id)
	return in, sub, err
}

// subscriptionNamed finds a subscription by id. The paths of the reference
// pages name none: there, an application's only subscription is meant.
func (s *Server) subscriptionNamed(k *call, id string) (session.Subscription, error) {
	ctx := k.Request().Context()
	if id != "" {
		return s.gateway.Subscription(ctx, k.app, strings.ToLower(id))
	}
	subs, err := s.gateway.Subscriptions(ctx, k.app)
	if err == nil && len(subs) != 1 {
		err = &gateway.Error{Reason: gateway.NotFound, Message: "The request names no subscription; presenceSubscriptionId does."}
	}
	if err != nil {
		return session.Subscription{}, err
	}
	return subs[0], nil
}

// member finds the membership that a path names as {subscription},{address}.
func (s *Server) member(k *call) (session.Subscription, string, error) {
	id, address, _ := strings.Cut(k.Param("membership"), ",")
	sub, err := s.subscriptionNamed(k, id)
	if err == nil && !slices.Contains(sub.Members, address) {
		err = &gateway.Error{Reason: gateway.NotFound, Message: "The contact is not in that subscription."}
	}
	return sub, address, err
}

// duration reads the parameter of all subscriptions, in minutes; one sample
// text calls it SubscriptionDuration.
func duration(in *representation.Input) (int, error) {
	for _, name := range []string{"duration", "subscriptionDuration"} {
		minutes, ok, err := in.Int(name)
		if err != nil {
			return 0, gateway.Invalid(gateway.Parameter{Name: "duration", Problem: "is not a whole number of minutes"})
		}
		if ok {
			return minutes, nil
		}
	}
	return 0, gateway.Invalid(gateway.Parameter{Name: "duration", Problem: "is required: a whole number of minutes"})
}

// contactList reads a list of addresses: the two operations that take one name
// it differently, and clients mix them up.
func contactList(in *representation.Input, name, alias string) ([]string, error) {
	for _, n := range []string{name, alias} {
		if list, ok := in.List(n); ok {
			return list, nil
		}
	}
	return nil, gateway.Invalid(gateway.Parameter{Name: name, Problem: "is required: a list of SIP addresses"})
}
