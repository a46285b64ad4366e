package mapping

import "golang.org/x/text/language"

// Availability is UCWA's enumeration of what a contact's presence may be. A
// typed client throws on any other word, so nothing else is ever emitted.
type Availability string

// The documented members, and NoAvailability, which only clients that know it
// may be given (Options.UnknownAsNone).
const (
	Online         Availability = "Online"
	IdleOnline     Availability = "IdleOnline"
	Busy           Availability = "Busy"
	IdleBusy       Availability = "IdleBusy"
	DoNotDisturb   Availability = "DoNotDisturb"
	BeRightBack    Availability = "BeRightBack"
	Away           Availability = "Away"
	Offline        Availability = "Offline"
	NoAvailability Availability = "None"
)

// Availabilities returns the documented members, most available first, without
// NoAvailability.
func Availabilities() []Availability {
	return []Availability{Online, IdleOnline, Busy, IdleBusy, DoNotDisturb, BeRightBack, Away, Offline}
}

// NoteType is UCWA's enumeration of where a note comes from.
type NoteType string

// Personal is also the type of an empty note.
const (
	Personal    NoteType = "Personal"
	OutOfOffice NoteType = "OutOfOffice"
)

// DeviceType is the ContactDeviceType of every contact: Graph does not say
// which device a person uses.
const DeviceType = "Unknown"

// Options are the switches of the translation. The zero value is the documented
// default.
type Options struct {
	// UnknownAsNone makes the availability None instead of Offline where Graph
	// cannot tell, for clients that know that member.
	UnknownAsNone bool
	// OmitOutOfOfficeActivity leaves the token out-of-office out: it is known to
	// Skype's web SDK and to Lync, but absent from UCWA's list.
	OmitOutOfOfficeActivity bool
}

// Contact is what UCWA shows of one person. It holds the values of three
// resources: contactPresence (Availability, Activity), contactNote (NoteType,
// Note) and contactLocation (Location).
type Contact struct {
	// Availability is always a member of the enumeration.
	Availability Availability
	// Activity is zero where it is left out.
	Activity Activity
	// NoteType is Personal for an empty Note.
	NoteType NoteType
	Note     string
	// Location is zero where Graph names neither office nor remote; the caller
	// then falls back to the office of the directory.
	Location Location
	// Rule names the rule that decided the availability: a name of the rules
	// that WriteTable prints.
	Rule string
	// Unknown holds the words of availability and activity that are in no
	// table, as Graph wrote them, each once, at most eight. It is nil otherwise.
	Unknown []string
	// Indefinite is set where Graph does not say how available the person is
	// (PresenceUnknown, nothing, or only words that mean nothing to us): a
	// caller that has a recent good reading may keep showing that one.
	Indefinite bool
}

// Reachable says whether the person can be sent a message now.
func (c Contact) Reachable() bool {
	return c.Availability != Offline && c.Availability != NoAvailability
}

// Activity is a well-known UCWA token, which clients localize, or a phrase that
// has a text in every culture of Cultures. The zero value is "left out".
// Activities are comparable with ==.
type Activity struct {
	token  string
	phrase phrase
}

// IsZero reports whether there is no activity to show.
func (a Activity) IsZero() bool { return a == Activity{} }

// In returns the token as it is, the phrase in the given culture, and "" for
// the zero value.
func (a Activity) In(culture language.Tag) string {
	if a.phrase == noPhrase {
		return a.token
	}
	return a.phrase.in(culture)
}

// Location is where a person works today, as a phrase that has a text in every
// culture. The zero value is "not known". Locations are comparable with ==.
type Location struct{ phrase phrase }

// IsZero reports whether the location is not known.
func (l Location) IsZero() bool { return l == Location{} }

// In returns the location in the given culture, and "" for the zero value.
func (l Location) In(culture language.Tag) string { return l.phrase.in(culture) }
