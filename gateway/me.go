package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// The longest texts a user may publish, in characters. The location's is
// UCWA's; the documentation gives none for a note, and the one here is beyond
// what any client shows.
const (
	MaxLocation    = 60
	MaxNote        = 1024
	MaxPhoneNumber = 100
)

// The legal values of what makeMeAvailable and communication carry (UCWA
// reference: ModalityType with the two values the pages add, MessageFormat,
// AudioPreference).
var (
	modalities       = []string{"Audio", "Video", "PhoneAudio", "ApplicationSharing", "Messaging", "DataCollaboration", "PanoramicVideo"}
	messageFormats   = []string{"Plain", "Html"}
	audioPreferences = []string{"PhoneAudio", "VoipAudio"}
)

// Modalities, MessageFormats and AudioPreferences return the legal values.
func Modalities() []string       { return slices.Clone(modalities) }
func MessageFormats() []string   { return slices.Clone(messageFormats) }
func AudioPreferences() []string { return slices.Clone(audioPreferences) }

// Communication is what a client says about how its user can be reached. Nil
// lists and empty texts are not said.
type Communication struct {
	Modalities, MessageFormats   []string
	AudioPreference, PhoneNumber string
}

// AvailabilityRequest is what makeMeAvailable asks for.
type AvailabilityRequest struct {
	// SignInAs is what the user prefers to be. Online takes an earlier preference
	// back; empty leaves it.
	SignInAs mapping.PreferredAvailability
	// InactiveTimeout is how long after the last report of activity the user
	// counts as active; zero is the default.
	InactiveTimeout time.Duration
	Communication
}

// Standing is what an application's user can do about themselves.
type Standing struct {
	// Available says that makeMeAvailable has succeeded.
	Available bool
	// Publishes says that presence and note can be written.
	Publishes     bool
	Communication session.Communication
}

// Standing returns it for an application of p.
func (g *Gateway) Standing(ctx context.Context, p Principal, app Application) (Standing, error) {
	st, err := update(ctx, g, app, func(s *session.Session) (Standing, error) {
		return Standing{Available: s.Available(), Communication: communicationOf(s, app)}, nil
	})
	st.Publishes = g.mayPublish(p)
	return st, err
}

// communicationOf is what the communication resource of an application says.
func communicationOf(s *session.Session, app Application) session.Communication {
	return complete(s.Communication(), app)
}

// complete adds to c what the client need not say.
func complete(c session.Communication, app Application) session.Communication {
	c.PassThrough = app.PassThrough
	if c.Formats == nil {
		c.Formats = messageFormats[:1:1]
	}
	return c
}

// changed is the error for a change that was decided on something older.
func changed() error {
	return &Error{Reason: Changed, Message: "The resource has changed meanwhile."}
}

// MakeMeAvailable ends lurking. That the user is there is published when the
// budget allows it, and confirmed by events. Beside the errors of an
// application it returns AlreadyExists and InvalidParameter.
func (g *Gateway) MakeMeAvailable(ctx context.Context, p Principal, app Application, r AvailabilityRequest) error {
	c, err := r.Communication.validate()
	if err != nil {
		return err
	}
	c = complete(c, app)
	publishes := g.mayPublish(p)
	_, err = update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		return struct{}{}, s.MakeAvailable(session.Availability{
			Owner: p.Address, Inactive: r.InactiveTimeout, Publishes: publishes, Communication: c,
		}, g.clock.Now())
	})
	if err != nil || !publishes {
		return err
	}
	var prefer *mapping.GraphAction
	switch action, ok := mapping.Prefer(r.SignInAs); {
	case r.SignInAs == mapping.PreferOnline:
		// What the user was before ends; a preference would hide their calls and
		// meetings for days.
		reset := mapping.ResetPresence()
		prefer = &reset
	case ok:
		prefer = &action
	}
	g.publisher.begin(p, app.ID, prefer)
	return nil
}

// ReportActivity says that the user is active.
func (g *Gateway) ReportActivity(ctx context.Context, p Principal, app Application) error {
	now, err := update(ctx, g, app, func(s *session.Session) (bool, error) { return s.ReportActivity(g.clock.Now()) })
	if err == nil && now && g.mayPublish(p) {
		g.publisher.keepAlive(p.Address, app.ID)
	}
	return err
}

// OwnPresence returns what the user's presence is, and who they are.
func (g *Gateway) OwnPresence(ctx context.Context, p Principal, app Application) (Person, Presence, error) {
	if err := g.requireAvailable(ctx, app); err != nil {
		return Person{}, Presence{}, err
	}
	me, err := g.owner(ctx, p)
	if err != nil {
		return Person{}, Presence{}, err
	}
	presence, err := g.PresenceOf(ctx, app, me)
	return me, presence, err
}

// OwnLocation returns the location that the user has given for themselves.
func (g *Gateway) OwnLocation(ctx context.Context, app Application) (location string, set bool, err error) {
	_, err = update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		if !s.Available() {
			return struct{}{}, session.ErrLurking
		}
		location, set = s.Location()
		return struct{}{}, nil
	})
	return location, set, err
}

// SetPresence publishes what the user prefers to be; empty resets it to what
// they do.
func (g *Gateway) SetPresence(ctx context.Context, p Principal, app Application, preferred mapping.PreferredAvailability) error {
	action := mapping.ResetPresence()
	if preferred != "" {
		var ok bool
		if action, ok = mapping.Prefer(preferred); !ok {
			return Invalid(Parameter{"availability", "must be one of " + strings.Join(mapping.PreferredNames(), ", ")})
		}
	}
	return g.publish(ctx, p, app, "availability", action, true)
}

// SetNote publishes the user's note; a text of nothing but space clears it.
func (g *Gateway) SetNote(ctx context.Context, p Principal, app Application, text string) error {
	if err := short("message", text, MaxNote); err != nil {
		return err
	}
	return g.publish(ctx, p, app, "message", mapping.SetNote(text), false)
}

// publish says something for a client that waits; parameter is what it was said
// with.
func (g *Gateway) publish(ctx context.Context, p Principal, app Application, parameter string, action mapping.GraphAction, needsSession bool) error {
	what := map[string]string{"availability": "The presence", "message": "The note"}[parameter]
	if err := g.ReportActivity(ctx, p, app); err != nil {
		return err
	}
	if !g.mayPublish(p) {
		return &Error{Reason: Forbidden, Message: what + " cannot be published: this gateway is not permitted to."}
	}
	err := g.publisher.now(ctx, p, action, needsSession)
	var domain *Error
	switch {
	case err == nil || errors.As(err, &domain):
		return err
	case isKind(err, graphsrc.KindInvalid):
		return Invalid(Parameter{parameter, "was refused by the presence service"})
	}
	return failed(what, "published", err)
}

// SetLocation keeps the location that the user gives for themselves, for the
// life of the application; empty clears it.
func (g *Gateway) SetLocation(ctx context.Context, p Principal, app Application, location string) error {
	location = strings.TrimSpace(location)
	if err := short("location", location, MaxLocation); err != nil {
		return err
	}
	if err := g.ReportActivity(ctx, p, app); err != nil {
		return err
	}
	_, err := update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		return struct{}{}, s.SetLocation(location, g.clock.Now())
	})
	return err
}

// SetCommunication replaces what the communication resource says, if it still
// says what Standing returned as was; else the error is Changed.
func (g *Gateway) SetCommunication(ctx context.Context, app Application, was session.Communication, c Communication) error {
	now, err := c.validate()
	if err != nil {
		return err
	}
	_, err = update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		if !reflect.DeepEqual(communicationOf(s, app), was) {
			return struct{}{}, changed()
		}
		if now.Formats == nil {
			now.Formats = was.Formats
		}
		s.SetCommunication(complete(now, app), g.clock.Now())
		return struct{}{}, nil
	})
	return err
}

// requireAvailable fails for a user who lurks.
func (g *Gateway) requireAvailable(ctx context.Context, app Application) error {
	_, err := update(ctx, g, app, func(s *session.Session) (struct{}, error) {
		if !s.Available() {
			return struct{}{}, session.ErrLurking
		}
		return struct{}{}, nil
	})
	return err
}

// mayPublish says whether the presence of p can be written, as far as is known.
func (g *Gateway) mayPublish(p Principal) bool {
	t := g.tenantOf(p.Address)
	return t != nil && !g.readOnly && t.Source.MayPublish() && (g.access == nil || g.access.MayPublish(p))
}

// publishes finds whose presence p publishes.
func (g *Gateway) publishes(ctx context.Context, p Principal) (*Tenant, string, error) {
	t := g.tenantOf(p.Address)
	if t != nil && p.ObjectID != "" {
		return t, p.ObjectID, nil
	}
	if t == nil {
		return nil, "", errors.New("the domain is not served")
	}
	u, err := t.Source.Lookup(ctx, p.Address)
	return t, u.ID, err
}

// validate checks c and brings its values into their documented spelling.
func (c Communication) validate() (session.Communication, error) {
	var out session.Communication
	var problems []Parameter
	one := func(name, value string, legal []string) string {
		for _, l := range legal {
			if strings.EqualFold(l, strings.TrimSpace(value)) {
				return l
			}
		}
		problems = append(problems, Parameter{name, "must be one of " + strings.Join(legal, ", ")})
		return ""
	}
	list := func(name string, values, legal []string) (clean []string) {
		for _, v := range values {
			before := len(problems)
			if v = one(name, v, legal); len(problems) > before {
				return nil // named once
			}
			if !slices.Contains(clean, v) {
				clean = append(clean, v)
			}
		}
		return clean
	}
	out.Modalities = list("supportedModalities", c.Modalities, modalities)
	out.Formats = list("supportedMessageFormats", c.MessageFormats, messageFormats)
	if c.AudioPreference != "" {
		out.AudioPreference = one("audioPreference", c.AudioPreference, audioPreferences)
	}
	if n := utf8.RuneCountInString(c.PhoneNumber); n > MaxPhoneNumber {
		problems = append(problems, tooLong("phoneNumber", n, MaxPhoneNumber))
	}
	out.PhoneNumber = c.PhoneNumber
	if problems != nil {
		return out, Invalid(problems...)
	}
	return out, nil
}

// short fails for a text of more than limit characters.
func short(name, text string, limit int) error {
	if n := utf8.RuneCountInString(text); n > limit {
		return Invalid(tooLong(name, n, limit))
	}
	return nil
}

func tooLong(name string, n, limit int) Parameter {
	return Parameter{name, fmt.Sprintf("has %d characters; at most %d are allowed", n, limit)}
}
