package ucwaapi

import (
	"errors"
	"net/http"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
	"ucwagate/ucwaapi/representation"
)

// passThroughText is the value of the property that a PUT must bring back;
// a known client finds the property's name by the text that follows it.
const passThroughText = "please pass this in a PUT request"

func (s *Server) createApplication(k *call) error {
	in, err := s.scalar(k, "culture", "userAgent", "endpointId", "instanceId", "type")
	if err != nil {
		return err
	}
	var req gateway.ApplicationRequest
	req.Culture, _ = in.String("culture")
	req.UserAgent, _ = in.String("userAgent")
	req.EndpointID, _ = in.String("endpointId")
	req.InstanceID, _ = in.String("instanceId")
	req.Type, _ = in.String("type")
	app, err := s.gateway.CreateApplication(k.Request().Context(), k.principal, req)
	if err != nil {
		return err
	}
	k.app, k.links = app, linksOf(app.ID)
	// Tabs of a browser share an application; each has a channel of its own.
	ack, opened, err := s.gateway.Channel(k.Request().Context(), app, req.InstanceID)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if req.InstanceID != "" && !opened {
		status = http.StatusOK
	} else {
		k.Response().Header()["Location"] = []string{k.links.instance(req.InstanceID)}
	}
	return s.sendApplication(k, status, req.InstanceID, ack)
}

func (s *Server) application(k *call) error {
	instance, err := s.instance(k)
	if err != nil {
		return err
	}
	if instance == "" {
		// Whoever asks without an instance has a channel too, even if every
		// other client of the application names one.
		ack, err := s.gateway.LendChannel(k.Request().Context(), k.app)
		if err != nil {
			return err
		}
		return s.sendApplication(k, http.StatusOK, "", ack)
	}
	ack, err := s.gateway.Position(k.Request().Context(), k.app, instance)
	if err != nil {
		return err
	}
	return s.sendApplication(k, http.StatusOK, instance, ack)
}

// deleteApplication ends the application, or with instanceId only the channel
// of that instance, as long as others remain.
func (s *Server) deleteApplication(k *call) error {
	instance, err := s.instance(k)
	if err != nil {
		return err
	}
	if err := s.gateway.DeleteApplication(k.Request().Context(), k.principal, k.app.ID, instance); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// instance reads the optional parameter that tells the tabs of a browser apart.
func (s *Server) instance(k *call) (string, error) {
	in, err := s.input(k)
	if err != nil {
		return "", err
	}
	instance, _ := in.String("instanceId")
	return instance, nil
}

func (s *Server) sendApplication(k *call, status int, instance string, ack int64) error {
	st, err := s.gateway.Standing(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	me, err := s.meResource(k, st)
	if err != nil {
		return err
	}
	s.setPhotoCookie(k)
	return s.send(k, status, applicationResource(k.links, k.app, instance, ack).
		Embed(me).
		Embed(s.peopleResource(k)).
		Embed(onlineMeetingsResource(k)).
		Embed(communicationResource(k.links, st.Communication)))
}

// applicationResource is an application without what it embeds.
func applicationResource(l links, app gateway.Application, instance string, ack int64) *representation.Resource {
	return representation.New("application", l.instance(instance)).
		Set("culture", app.Culture).
		Set("userAgent", app.UserAgent).
		SetNonEmpty("type", app.Type).
		Set("endpointId", app.EndpointID).
		SetNonEmpty("instanceId", instance).
		Set("id", app.ID).
		Link("policies", l.policies()).
		Link("batch", l.batch()).
		Link("events", l.events(ack, instance)).
		Link("reportMyNetwork", l.reportMyNetwork()).
		Tag()
}

// applications lists the user's running applications.
func (s *Server) applications(k *call) error {
	ctx := k.Request().Context()
	apps, err := s.gateway.Applications(ctx, k.principal)
	if err != nil {
		return err
	}
	var list []*representation.Resource
	for _, app := range apps {
		ack, err := s.gateway.Position(ctx, app, app.InstanceID)
		var e *gateway.Error
		switch {
		case errors.As(err, &e) && e.Reason == gateway.NotFound:
			ack = 1 // it has channels of other instances only
		case err != nil:
			continue // it has just ended
		}
		list = append(list, applicationResource(linksOf(app.ID), app, app.InstanceID, ack))
	}
	return s.send(k, http.StatusOK, representation.New("applications", applicationsPath).EmbedAll("application", list))
}

func (s *Server) onlineMeetings(k *call) error {
	return s.send(k, http.StatusOK, onlineMeetingsResource(k))
}

// onlineMeetingsResource has no links beyond itself: their absence is the
// documented way to say that nothing can be done here.
func onlineMeetingsResource(k *call) *representation.Resource {
	return representation.New("onlineMeetings", k.links.onlineMeetings())
}

// communicationResource is what clients dereference when they start. Its first
// member is supportedModalities, which one client takes by position; it offers
// no way to start a conversation.
func communicationResource(l links, c session.Communication) *representation.Resource {
	return representation.New("communication", l.communication()).
		SetList("supportedModalities", c.Modalities).
		SetList("supportedMessageFormats", c.Formats).
		SetNonEmpty("audioPreference", c.AudioPreference).
		SetNonEmpty("phoneNumber", c.PhoneNumber).
		Set(c.PassThrough, passThroughText).
		Link("conversations", l.conversations()).
		Tag()
}

func (s *Server) conversations(k *call) error {
	return s.send(k, http.StatusOK, representation.New("conversations", k.links.conversations()).
		EmbedAll("conversation", nil))
}

func (s *Server) people(k *call) error {
	return s.send(k, http.StatusOK, s.peopleResource(k))
}

func (s *Server) peopleResource(k *call) *representation.Resource {
	r := representation.New("people", k.links.people()).
		Link("presenceSubscriptions", k.links.presenceSubscriptions()).
		Link("subscribedContacts", k.links.subscribedContacts()).
		Link("presenceSubscriptionMemberships", k.links.memberships())
	// What revision 2 of these adds changes the contact list.
	if s.gateway.ContactListWritable() {
		r.LinkRevision("myGroups", k.links.myGroups(), "2").
			LinkRevision("myGroupMemberships", k.links.groupMemberships(), "2")
	} else {
		r.Link("myGroups", k.links.myGroups()).
			Link("myGroupMemberships", k.links.groupMemberships())
	}
	return r.Link("myContacts", k.links.myContacts()).
		Link("myPrivacyRelationships", k.links.privacyRelationships()).
		Link("myContactsAndGroupsSubscription", k.links.contactsAndGroupsSubscription()).
		LinkRevision("search", k.links.search(), "2")
}
