package ucwaapi

import (
	"net/http"
	"strings"
	"time"

	"ucwagate/gateway"
	"ucwagate/mapping"
	"ucwagate/ucwaapi/representation"
)

func (s *Server) me(k *call) error {
	st, err := s.gateway.Standing(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	me, err := s.meResource(k, st)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, me)
}

// meResource describes the signed-in user. Here the office is officeLocation;
// on a contact it is office.
//
// The links follow what real servers send: at first there is makeMeAvailable and
// no reportMyActivity, afterwards it is the other way round. makeMeAvailable is
// there even if nothing can be published, because clients follow it unseen; it
// does what can be done then.
func (s *Server) meResource(k *call, st gateway.Standing) (*representation.Resource, error) {
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
	r.SetNonEmpty("title", me.Title).
		SetNonEmpty("department", me.Department).
		SetNonEmpty("company", me.Company).
		SetNonEmpty("officeLocation", me.Office).
		SetNonEmpty("workPhoneNumber", me.WorkPhone).
		SetNonEmpty("mobilePhoneNumber", me.MobilePhone)
	switch {
	case !st.Available:
		r.Link("makeMeAvailable", k.links.makeMeAvailable())
	case st.Publishes:
		r.Link("presence", k.links.ownPresence()).
			Link("note", k.links.ownNote())
		fallthrough
	default:
		r.Link("location", k.links.ownLocation()).
			Link("reportMyActivity", k.links.reportMyActivity())
	}
	return r.Link("photo", k.links.photo(k.principal.Address)), nil
}

// makeMeAvailable always answers 204, the first revision's way: what an
// operation of the second one contains is not documented.
func (s *Server) makeMeAvailable(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	var problems []gateway.Parameter
	var req gateway.AvailabilityRequest
	if text, ok := in.String("signInAs"); ok && text != "" {
		if req.SignInAs, ok = mapping.ParsePreferred(text); !ok {
			problems = append(problems, preferredProblem("signInAs"))
		}
		k.becomes(string(req.SignInAs))
	}
	for name, to := range map[string]*time.Duration{"inactiveTimeout": &req.InactiveTimeout, "voipFallbackToPhoneAudioTimeOut": nil} {
		text, ok := in.String(name)
		if !ok || text == "" {
			continue
		}
		d, err := parseTimeSpan(text)
		switch {
		case err != nil:
			problems = append(problems, gateway.Parameter{Name: name, Problem: err.Error()})
		case to != nil:
			*to = d
		}
	}
	req.Communication = communicationOf(in)
	problems = append(problems, mistyped(in, communicationLists, "signInAs", "inactiveTimeout", "audioPreference", "phoneNumber", "voipFallbackToPhoneAudioTimeOut")...)
	if problems != nil {
		return gateway.Invalid(sorted(problems)...)
	}
	if err := s.gateway.MakeMeAvailable(k.Request().Context(), k.principal, k.app, req); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) reportMyActivity(k *call) error {
	if err := s.gateway.ReportActivity(k.Request().Context(), k.principal, k.app); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) ownPresence(k *call) error {
	_, p, err := s.gateway.OwnPresence(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	r := representation.New("presence", k.links.ownPresence()).Set("availability", string(p.Availability))
	if !p.Activity.IsZero() {
		r.Set("activity", p.Activity.In(k.culture()))
	}
	return s.send(k, http.StatusOK, r)
}

// publishPresence sets what the user prefers to be; nothing, null and an empty
// text reset it.
func (s *Server) publishPresence(k *call) error {
	in, err := s.scalar(k, "availability")
	if err != nil {
		return err
	}
	var preferred mapping.PreferredAvailability
	if text, ok := in.String("availability"); ok && strings.TrimSpace(text) != "" {
		if preferred, ok = mapping.ParsePreferred(text); !ok {
			return gateway.Invalid(preferredProblem("availability"))
		}
		k.becomes(string(preferred))
	} else {
		k.becomes(valueReset)
	}
	if err := s.gateway.SetPresence(k.Request().Context(), k.principal, k.app, preferred); err != nil {
		return err
	}
	return s.sendNothing(k)
}

func (s *Server) ownNote(k *call) error {
	_, p, err := s.gateway.OwnPresence(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, representation.New("note", k.links.ownNote()).
		Set("message", p.Note).
		Set("type", string(p.NoteType)))
}

func (s *Server) publishNote(k *call) error {
	in, err := s.scalar(k, "message", "type")
	if err != nil {
		return err
	}
	// Only the personal note can be set. Clients post the whole note back, so
	// another type is passed over.
	text, _ := in.Text("message")
	k.becomes(setOrCleared(text))
	if err := s.gateway.SetNote(k.Request().Context(), k.principal, k.app, text); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// ownLocation is what the user has said, else where they work today as far as
// is known.
func (s *Server) ownLocation(k *call) error {
	ctx := k.Request().Context()
	location, set, err := s.gateway.OwnLocation(ctx, k.app)
	if err != nil {
		return err
	}
	if !set {
		me, p, err := s.gateway.OwnPresence(ctx, k.principal, k.app)
		if err != nil {
			return err
		}
		location = locationOf(k, me, p)
	}
	return s.send(k, http.StatusOK, representation.New("location", k.links.ownLocation()).Set("location", location))
}

func (s *Server) publishLocation(k *call) error {
	in, err := s.scalar(k, "location")
	if err != nil {
		return err
	}
	text, _ := in.Text("location")
	k.becomes(setOrCleared(text))
	if err := s.gateway.SetLocation(k.Request().Context(), k.principal, k.app, text); err != nil {
		return err
	}
	return s.sendNothing(k)
}

// communicationLists are the lists among the parameters of makeMeAvailable and
// communication.
var communicationLists = []string{"supportedModalities", "supportedMessageFormats"}

func communicationOf(in *representation.Input) gateway.Communication {
	var c gateway.Communication
	c.Modalities, _ = in.List("supportedModalities")
	c.MessageFormats, _ = in.List("supportedMessageFormats")
	c.AudioPreference, _ = in.String("audioPreference")
	c.PhoneNumber, _ = in.String("phoneNumber")
	return c
}

func (s *Server) communication(k *call) error {
	st, err := s.gateway.Standing(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	return s.send(k, http.StatusOK, communicationResource(k.links, st.Communication))
}

// updateCommunication is PUT: it wants the entity tag of what it replaces, and
// the pass-through property of it.
func (s *Server) updateCommunication(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	st, err := s.gateway.Standing(k.Request().Context(), k.principal, k.app)
	if err != nil {
		return err
	}
	if err := checkPut(k, in, communicationResource(k.links, st.Communication).ETag(), k.app.PassThrough); err != nil {
		return err
	}
	if problems := mistyped(in, communicationLists, "audioPreference", "phoneNumber"); problems != nil {
		return gateway.Invalid(problems...)
	}
	if err := s.gateway.SetCommunication(k.Request().Context(), k.app, st.Communication, communicationOf(in)); err != nil {
		return err
	}
	return s.communication(k)
}

func preferredProblem(name string) gateway.Parameter {
	return gateway.Parameter{Name: name, Problem: "must be " + oneOf(mapping.PreferredNames())}
}
