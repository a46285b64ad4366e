package ucwaapi

import (
	"net/http"

	"golang.org/x/text/language"

	"ucwagate/gateway"
	"ucwagate/mapping"
	"ucwagate/ucwaapi/representation"
)

func (s *Server) contact(k *call) error {
	who, err := s.person(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, s.contactResource(k.links, who))
}

func (s *Server) contactResource(l links, who gateway.Person) *representation.Resource {
	network := "SameEnterprise"
	switch {
	case who.Unknown:
		network = "Unknown"
	case who.Guest:
		network = "Federated"
	}
	r := representation.New("contact", l.contact(who.Address)).
		Set("uri", who.URI).
		Set("sourceNetwork", network).
		SetNonEmpty("company", who.Company).
		SetNonEmpty("department", who.Department).
		SetNonEmpty("office", who.Office).
		SetNonEmpty("title", who.Title)
	if len(who.EmailAddresses) > 0 {
		r.SetList("emailAddresses", who.EmailAddresses)
	}
	r.SetNonEmpty("workPhoneNumber", who.WorkPhone).
		SetNonEmpty("mobilePhoneNumber", who.MobilePhone).
		Set("type", "User").
		Set("name", who.Name)
	if s.gateway.HasPhotos() {
		r.Link("contactPhoto", l.photo(who.Address))
	}
	return r.Link("contactPresence", l.contactPart(who.Address, "presence")).
		Link("contactLocation", l.contactPart(who.Address, "location")).
		Link("contactNote", l.contactPart(who.Address, "note")).
		Link("contactSupportedModalities", l.contactPart(who.Address, "supportedMedia")).
		Link("contactPrivacyRelationship", l.contactPart(who.Address, "privacyRelationship")).
		Tag()
}

func (s *Server) contactPresence(k *call) error {
	address, p, err := s.gateway.Presence(k.Request().Context(), k.app, k.Param("contact"))
	if err != nil {
		return err
	}
	r := representation.New("contactPresence", k.links.contactPart(address, "presence")).
		Set("availability", string(p.Availability))
	if !p.Activity.IsZero() {
		r.Set("activity", p.Activity.In(k.culture()))
	}
	return s.send(k, http.StatusOK, r.
		Set("deviceType", mapping.DeviceType).
		SetTime("lastActive", p.LastActive))
}

func (s *Server) contactNote(k *call) error {
	address, p, err := s.gateway.Presence(k.Request().Context(), k.app, k.Param("contact"))
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, representation.New("contactNote", k.links.contactPart(address, "note")).
		Set("message", p.Note).
		Set("type", string(p.NoteType)))
}

// contactLocation says where somebody works today, else where their office is.
func (s *Server) contactLocation(k *call) error {
	who, p, err := s.personPresence(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, representation.New("contactLocation", k.links.contactPart(who.Address, "location")).
		Set("location", locationOf(k, who, p)))
}

func locationOf(k *call, who gateway.Person, p gateway.Presence) string {
	if !p.Location.IsZero() {
		return p.Location.In(k.culture())
	}
	return who.Office
}

// contactSupportedModalities says how somebody can be reached now: by message
// while they are signed in, by phone where the directory has a number.
func (s *Server) contactSupportedModalities(k *call) error {
	who, p, err := s.personPresence(k)
	if err != nil {
		return err
	}
	var modalities []string
	if p.Reachable() {
		modalities = append(modalities, "Messaging")
	}
	if who.WorkPhone != "" || who.MobilePhone != "" {
		modalities = append(modalities, "PhoneAudio")
	}
	return s.send(k, http.StatusOK, representation.New("contactSupportedModalities", k.links.contactPart(who.Address, "supportedMedia")).
		SetList("modalities", modalities))
}

// contactPrivacyRelationship is revision 1: levels cannot be changed. Everyone
// of the enterprise is what Skype made them unless told otherwise.
func (s *Server) contactPrivacyRelationship(k *call) error {
	who, err := s.person(k)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, representation.New("contactPrivacyRelationship", k.links.contactPart(who.Address, "privacyRelationship")).
		Set("relationshipLevel", relationshipLevel(who)))
}

// The members of PrivacyRelationshipLevel that occur.
const (
	levelColleagues = "Colleagues"
	levelExternal   = "External"
	levelUnknown    = "Unknown"
)

func relationshipLevel(who gateway.Person) string {
	switch {
	case who.Unknown:
		return levelUnknown
	case who.Guest:
		return levelExternal
	}
	return levelColleagues
}

func (s *Server) person(k *call) (gateway.Person, error) {
	return s.gateway.Contact(k.Request().Context(), k.app, k.principal, k.Param("contact"))
}

func (s *Server) personPresence(k *call) (gateway.Person, gateway.Presence, error) {
	who, err := s.person(k)
	if err != nil {
		return who, gateway.Presence{}, err
	}
	p, err := s.gateway.PresenceOf(k.Request().Context(), k.app, who)
	return who, p, err
}

func (k *call) culture() language.Tag { return mapping.Culture(k.app.Culture) }
