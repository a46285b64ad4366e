package ucwaapi

import (
	"net/http"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// passThroughText is the value of the property that a PUT must bring back;
// a known client finds the property's name by the text that follows it.
const passThroughText = "please pass this in a PUT request"

func (s *Server) createApplication(k *call) error {
	in, err := s.input(k)
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
		ack, _, err := s.gateway.Channel(k.Request().Context(), k.app, "")
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
	me, err := s.meResource(k)
	if err != nil {
		return err
	}
	return s.send(k, status, representation.New("application", k.links.instance(instance)).
		Set("culture", k.app.Culture).
		Set("userAgent", k.app.UserAgent).
		SetNonEmpty("type", k.app.Type).
		Set("endpointId", k.app.EndpointID).
		SetNonEmpty("instanceId", instance).
		Set("id", k.app.ID).
		Link("events", k.links.events(ack, instance)).
		Tag().
		Embed(me).
		Embed(peopleResource(k)).
		Embed(onlineMeetingsResource(k)).
		Embed(communicationResource(k)))
}

func (s *Server) me(k *call) error {
	me, err := s.meResource(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, me)
}

// meResource describes the signed-in user. Here the office is officeLocation;
// on a contact it is office.
func (s *Server) meResource(k *call) (*representation.Resource, error) {
	me, err := s.gateway.Me(k.Request().Context(), k.principal)
	if err != nil {
		return nil, err
	}
	r := representation.New("me", k.links.me()).
		Set("name", me.Name).
		Set("uri", me.URI)
	if len(me.EmailAddresses) > 0 {
		r.SetList("emailAddresses", me.EmailAddresses)
	}
	return r.SetNonEmpty("title", me.Title).
		SetNonEmpty("department", me.Department).
		SetNonEmpty("company", me.Company).
		SetNonEmpty("officeLocation", me.Office).
		SetNonEmpty("workPhoneNumber", me.WorkPhone).
		SetNonEmpty("mobilePhoneNumber", me.MobilePhone), nil
}

func (s *Server) onlineMeetings(k *call) error {
	return s.send(k, http.StatusOK, onlineMeetingsResource(k))
}

// onlineMeetingsResource has no links beyond itself: their absence is the
// documented way to say that nothing can be done here.
func onlineMeetingsResource(k *call) *representation.Resource {
	return representation.New("onlineMeetings", k.links.onlineMeetings())
}

func (s *Server) communication(k *call) error {
	return s.send(k, http.StatusOK, communicationResource(k))
}

// communicationResource is what clients dereference when they start. Its first
// member is supportedModalities, which one client takes by position; it offers
// no way to start a conversation.
func communicationResource(k *call) *representation.Resource {
	return representation.New("communication", k.links.communication()).
		SetList("supportedModalities", nil).
		SetList("supportedMessageFormats", []string{"Plain"}).
		Set(k.app.PassThrough, passThroughText).
		Link("conversations", k.links.conversations()).
		Tag()
}

func (s *Server) conversations(k *call) error {
	return s.send(k, http.StatusOK, representation.New("conversations", k.links.conversations()).
		EmbedAll("conversation", nil))
}

func (s *Server) people(k *call) error {
	return s.send(k, http.StatusOK, peopleResource(k))
}

func peopleResource(k *call) *representation.Resource {
	return representation.New("people", k.links.people()).
		Link("presenceSubscriptions", k.links.presenceSubscriptions()).
		Link("subscribedContacts", k.links.subscribedContacts()).
		Link("presenceSubscriptionMemberships", k.links.memberships()).
		Link("myGroups", k.links.myGroups()).
		Link("myContacts", k.links.myContacts()).
		Link("myContactsAndGroupsSubscription", k.links.contactsAndGroupsSubscription())
}
