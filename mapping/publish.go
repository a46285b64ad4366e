package mapping

import "strings"

// PreferredAvailability is UCWA's enumeration of what a user may choose to be.
type PreferredAvailability string

// The members. Offwork is written so, unlike Graph's OffWork; it has no member
// of its own in Availability.
const (
	PreferOnline       PreferredAvailability = "Online"
	PreferBusy         PreferredAvailability = "Busy"
	PreferDoNotDisturb PreferredAvailability = "DoNotDisturb"
	PreferBeRightBack  PreferredAvailability = "BeRightBack"
	PreferAway         PreferredAvailability = "Away"
	PreferOffwork      PreferredAvailability = "Offwork"
)

// The actions of Graph's presence resource, by their names in its addresses.
const (
	MethodSetPresence                = "setPresence"
	MethodClearPresence              = "clearPresence"
	MethodSetUserPreferredPresence   = "setUserPreferredPresence"
	MethodClearUserPreferredPresence = "clearUserPreferredPresence"
	MethodSetStatusMessage           = "setStatusMessage"
)

// GraphAction is one thing to say to Graph about the signed-in user. Session id
// and durations are the caller's.
type GraphAction struct {
	// Method is one of the Method constants.
	Method string
	// Availability and Activity are set for the two set…Presence actions.
	Availability, Activity string
	// Text is the note of setStatusMessage; empty clears the note.
	Text string
}

// publishing is one row of the translation from UCWA to Graph.
type publishing struct {
	ucwa   string
	prefer PreferredAvailability // set on the rows of Prefer
	action GraphAction           // Method is empty where Graph is told nothing
	note   string
}

// The rows of publishings that a function of their own returns.
const (
	rowAvailable = iota
	rowEnd
	rowReset
	rowSetNote
	rowClearNote
	rowLocation
	firstPreferred
)

// publishings is the translation from UCWA to Graph.
//
// Sources: the pages of presence-setpresence, presence-setuserpreferredpresence
// and presence-setstatusmessage of the Graph reference.
var publishings = []publishing{
	rowAvailable: {"makeMeAvailable, reportMyActivity", "", GraphAction{Method: MethodSetPresence, Availability: "Available", Activity: "Available"}, "sessionId is the client id; repeated in under 5 minutes while the client reports activity"},
	rowEnd:       {"application ends", "", GraphAction{Method: MethodClearPresence}, "sessionId is the client id"},
	rowReset:     {"presence, empty POST", "", GraphAction{Method: MethodClearUserPreferredPresence}, "back to the automatic state"},
	rowSetNote:   {"note, with text", "", GraphAction{Method: MethodSetStatusMessage}, "with the text"},
	rowClearNote: {"note, empty POST", "", GraphAction{Method: MethodSetStatusMessage}, "without text"},
	rowLocation:  {"location", "", GraphAction{}, "kept by the gateway for the life of the application: Graph has no application permission for it"},

	firstPreferred + 0: {"presence Online", PreferOnline, preferred("Available", "Available"), "takes effect only while a session exists: setPresence goes first"},
	firstPreferred + 1: {"presence Busy", PreferBusy, preferred("Busy", "Busy"), ""},
	firstPreferred + 2: {"presence DoNotDisturb", PreferDoNotDisturb, preferred("DoNotDisturb", "DoNotDisturb"), ""},
	firstPreferred + 3: {"presence BeRightBack", PreferBeRightBack, preferred("BeRightBack", "BeRightBack"), ""},
	firstPreferred + 4: {"presence Away", PreferAway, preferred("Away", "Away"), ""},
	firstPreferred + 5: {"presence Offwork", PreferOffwork, preferred("Offline", "OffWork"), ""},
}

func preferred(availability, activity string) GraphAction {
	return GraphAction{Method: MethodSetUserPreferredPresence, Availability: availability, Activity: activity}
}

// ParsePreferred reads a member of PreferredAvailability, without regard to case
// and surrounding space. It reports false for anything else, the empty string
// included: that one is a reset, see ResetPresence.
func ParsePreferred(s string) (PreferredAvailability, bool) {
	s = strings.TrimSpace(s)
	for _, row := range publishings[firstPreferred:] {
		if strings.EqualFold(string(row.prefer), s) {
			return row.prefer, true
		}
	}
	return "", false
}

// PreferredNames returns the members of PreferredAvailability, most available
// first, for error messages and documentation.
func PreferredNames() []string {
	names := make([]string, 0, len(publishings)-firstPreferred)
	for _, row := range publishings[firstPreferred:] {
		names = append(names, string(row.prefer))
	}
	return names
}

// MakeAvailable is what makeMeAvailable and each reportMyActivity say: the user
// has a session and is at work. Graph lets the session fade after 5 minutes.
func MakeAvailable() GraphAction { return publishings[rowAvailable].action }

// EndSession takes back MakeAvailable when the application ends.
func EndSession() GraphAction { return publishings[rowEnd].action }

// Prefer is what a POST to presence says. It reports false for a value that is
// not a member.
func Prefer(p PreferredAvailability) (GraphAction, bool) {
	for _, row := range publishings[firstPreferred:] {
		if row.prefer == p {
			return row.action, true
		}
	}
	return GraphAction{}, false
}

// ResetPresence is what an empty POST to presence says.
func ResetPresence() GraphAction { return publishings[rowReset].action }

// SetNote is what a POST to note says; a text of nothing but space clears the
// note.
func SetNote(text string) GraphAction {
	text = strings.TrimSpace(text)
	if text == "" {
		return publishings[rowClearNote].action
	}
	action := publishings[rowSetNote].action
	action.Text = text
	return action
}
