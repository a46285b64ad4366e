package session

import (
	"time"
	"unique"
)

const (
	// KeepAlive is how long after one keep-alive of the user's published
	// presence the next is wanted, while the client reports activity.
	KeepAlive = 4 * time.Minute
	// Fade is how long what was published stays without a keep-alive before it
	// turns idle by itself.
	//
	// Source: https://learn.microsoft.com/en-us/graph/cloud-communications-manage-presence-state
	Fade = 5 * time.Minute
	// DefaultInactive is inactiveTimeout where the client names none.
	DefaultInactive = 5 * time.Minute
)

// Communication is what the communication resource of an application shows.
type Communication struct {
	// PassThrough is the name of the property that a PUT must bring back.
	PassThrough     string   `json:"pass,omitempty"`
	Modalities      []string `json:"modalities,omitempty"`
	Formats         []string `json:"formats,omitempty"`
	AudioPreference string   `json:"audio,omitempty"`
	PhoneNumber     string   `json:"phone,omitempty"`
}

// Availability is what makeMeAvailable brings about.
type Availability struct {
	// Owner is the address of the user, whose presence is watched from now on.
	Owner string
	// Inactive is how long after the last report of activity the user counts as
	// active; zero is DefaultInactive, less than Fade has no effect.
	Inactive time.Duration
	// Publishes says that the user's presence and note can be written, and so
	// are resources of the application.
	Publishes     bool
	Communication Communication
}

// available is the state after makeMeAvailable; it is replaced, never changed.
type available struct {
	owner    address
	inactive time.Duration
	active   int64 // the last report of activity
	due      int64 // when it is to be seen whether a keep-alive is needed; 0: not before the next report
	wanted   bool  // a keep-alive is
	publish  bool  // presence and note are resources of the application
	located  bool
	location string
}

// MakeAvailable ends lurking. ErrExists: that has happened before.
func (s *Session) MakeAvailable(a Availability, now time.Time) error {
	t := s.at(now)
	s.advance(t)
	if s.self != nil {
		return ErrExists
	}
	owner := unique.Make(a.Owner)
	if !s.holds(owner) {
		s.note(owner, true)
	}
	if a.Inactive <= 0 {
		a.Inactive = DefaultInactive
	}
	s.self = &available{owner: owner, inactive: a.Inactive, active: t, due: t + int64(KeepAlive), publish: a.Publishes}
	c := a.Communication
	s.communication = &c
	events := []*Event{
		{Kind: CommunicationResource, Type: Updated, Class: Medium, Communication: &c},
		{Kind: Me, Type: Updated, Class: Medium},
	}
	if a.Publishes {
		events = append(events, &Event{Kind: OwnPresence, Type: Added, Class: Medium}, &Event{Kind: OwnNote, Type: Added, Class: Medium})
	}
	s.enqueue(t, append(events, &Event{Kind: OwnLocation, Type: Added, Class: Medium})...)
	return nil
}

// Available says whether MakeAvailable has succeeded.
func (s *Session) Available() bool { return s.self != nil }

// ReportActivity notes that the user is active. It reports whether a keep-alive
// is needed at once: the last one is too long ago. ErrLurking: MakeAvailable
// has to come first.
func (s *Session) ReportActivity(now time.Time) (keepAlive bool, err error) {
	t := s.at(now)
	s.advance(t)
	if s.self == nil {
		return false, ErrLurking
	}
	a := *s.self
	a.active = t
	if a.due == 0 {
		a.due, keepAlive = t+int64(KeepAlive), true
	}
	s.self = &a
	return keepAlive, nil
}

// TakeKeepAlive says whether a keep-alive has come to be needed since the last
// call, and of whom; Tick brings that about.
func (s *Session) TakeKeepAlive() (owner string, wanted bool) {
	if s.self == nil || !s.self.wanted {
		return "", false
	}
	a := *s.self
	a.wanted = false
	s.self = &a
	return a.owner.Value(), true
}

// DelayKeepAlive says that another application of the user has just seen to the
// keep-alive, and that this one need not before until.
func (s *Session) DelayKeepAlive(until, now time.Time) {
	t := s.at(now)
	if s.self == nil || s.self.due == 0 {
		return
	}
	a := *s.self
	a.due = max(until.UnixNano(), t)
	s.self = &a
}

// SetLocation sets or (empty) clears the location the user gives for
// themselves.
func (s *Session) SetLocation(location string, now time.Time) error {
	t := s.at(now)
	s.advance(t)
	if s.self == nil {
		return ErrLurking
	}
	a := *s.self
	a.location, a.located = location, location != ""
	s.self = &a
	s.enqueue(t, &Event{Kind: OwnLocation, Type: Updated, Class: Medium})
	return nil
}

// Location returns what SetLocation has set.
func (s *Session) Location() (location string, set bool) {
	if s.self == nil {
		return "", false
	}
	return s.self.location, s.self.located
}

// SetCommunication replaces what the communication resource shows.
func (s *Session) SetCommunication(c Communication, now time.Time) {
	t := s.at(now)
	s.advance(t)
	s.communication = &c
	s.enqueue(t, &Event{Kind: CommunicationResource, Type: Updated, Class: Medium, Communication: &c})
}

// Communication returns what the communication resource shows. Its lists must
// not be changed.
func (s *Session) Communication() Communication {
	if s.communication == nil {
		return Communication{}
	}
	return *s.communication
}

// Notify queues what has changed of somebody: the events as they are if a
// subscription holds the address, and those of the user's own presence, note
// and location if it is the user's own.
func (s *Session) Notify(now time.Time, addr string, events ...*Event) {
	t := s.at(now)
	a := unique.Make(addr)
	if s.holds(a) {
		s.enqueue(t, events...)
	}
	if !s.owns(a) {
		return
	}
	var own []*Event
	for _, e := range events {
		if kind := s.ownKind(e.Kind); kind != 0 {
			own = append(own, &Event{Kind: kind, Type: Updated, Class: Medium, Since: e.Since})
		}
	}
	s.enqueue(t, own...)
}

// ownKind is the kind of the user's own resource that shows the same as a part
// of a contact; 0: there is none.
func (s *Session) ownKind(k Kind) Kind {
	switch {
	case k == ContactPresence && s.self.publish:
		return OwnPresence
	case k == ContactNote && s.self.publish:
		return OwnNote
	case k == ContactLocation && !s.self.located: // else the user's own word stands
		return OwnLocation
	}
	return 0
}

// owns says whether an address is the user's, and watched for that.
func (s *Session) owns(a address) bool { return s.self != nil && s.self.owner == a }

// keepAlive looks whether a keep-alive has come to be needed at t. Without one
// the published presence would fade Fade after the last, KeepAlive before due.
// Once the user is not active for that long, it is let go.
func (s *Session) keepAlive(t int64) {
	if s.self == nil || s.self.due == 0 || t < s.self.due {
		return
	}
	a := *s.self
	fades := a.due - int64(KeepAlive) + int64(Fade)
	if a.active+int64(max(a.inactive, Fade)) > fades {
		a.wanted, a.due = true, t+int64(KeepAlive)
	} else {
		a.due = 0
	}
	s.self = &a
}

// inactive says whether the user has not been active for so long that the
// application is to end.
func (s *Session) inactive(t int64) bool {
	return s.self != nil && t-s.self.active >= int64(s.limits.Activity)
}

func (a *available) shifted(by int64) *available {
	if a == nil {
		return nil
	}
	c := *a
	c.active += by
	if c.due != 0 {
		c.due += by
	}
	return &c
}
