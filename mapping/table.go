package mapping

// kind says what a word of Graph speaks about, and so in which field it belongs
// and how much weight it has (see rules).
type kind uint8

const (
	// state is a base state; it belongs to availability.
	state kind = iota + 1
	// doing is an activity that UCWA can show.
	doing
	// quiet says that nobody touches a device; it belongs to activity.
	quiet
	// absence says that the person is out of office; it belongs to activity.
	absence
	// silence is Graph's own word for not knowing.
	silence
)

// word is one row of the translation from Graph to UCWA.
type word struct {
	// graph is the word as Graph's examples spell it.
	graph string
	kind  kind
	// availability is, for a state, its translation; for the kinds of activity,
	// the availability where Graph's own is missing or unknown.
	availability Availability
	activity     Activity
	// note explains the row to the reader of WriteTable.
	note string
}

// words is the translation from Graph to UCWA. A word counts in whichever field
// it is met: Graph's documentation prints the lists of the two fields exchanged
// on one page and in two spellings.
var words = []word{
	{"Available", state, Online, Activity{}, ""},
	{"AvailableIdle", state, IdleOnline, Activity{}, "4500 in Lync's ranges"},
	{"Busy", state, Busy, Activity{}, ""},
	{"BusyIdle", state, IdleBusy, Activity{}, "7500 in Lync's ranges"},
	{"DoNotDisturb", state, DoNotDisturb, Activity{}, ""},
	{"BeRightBack", state, BeRightBack, Activity{}, ""},
	{"Away", state, Away, Activity{}, ""},
	{"Offline", state, Offline, Activity{}, `"appear offline" is Offline with OffWork`},

	{"InACall", doing, Busy, Activity{token: "on-the-phone"}, ""},
	{"OnThePhone", doing, Busy, Activity{token: "on-the-phone"}, "not in Graph's lists, seen in the field"},
	{"InAConferenceCall", doing, Busy, Activity{token: "in-a-conference"}, ""},
	{"InAMeeting", doing, Busy, Activity{token: "in-a-meeting"}, "from the calendar"},
	{"Presenting", doing, DoNotDisturb, Activity{token: "presenting"}, ""},
	{"InASharing", doing, DoNotDisturb, Activity{token: "presenting"}, "not in Graph's lists, seen in the field"},
	{"UrgentInterruptionsOnly", doing, DoNotDisturb, Activity{token: "urgent-interruptions-only"}, "Lync paired it with Busy, Teams with DoNotDisturb: Graph's availability stands"},
	{"OffWork", doing, Offline, Activity{token: "off-work"}, ""},
	{"Focusing", doing, DoNotDisturb, Activity{phrase: focusing}, "UCWA has no token: a text in the application's culture"},

	{"Inactive", quiet, Away, Activity{}, "turns Online and Busy into their idle forms"},
	{"AvailableInactive", quiet, Away, Activity{}, "turns Online and Busy into their idle forms"},

	{"OutOfOffice", absence, Away, outOfOfficeActivity, "only where no other activity stands; any other word decides the availability first"},
	{"OOF", absence, Away, outOfOfficeActivity, `short form, documented as "InACall + OOF"`},

	{"PresenceUnknown", silence, "", Activity{}, "says nothing, like an absent value"},
}

// outOfOfficeActivity is also what outOfOfficeSettings.isOutOfOffice adds.
var outOfOfficeActivity = Activity{token: "out-of-office"}

// refinement is a pair in which an activity changes a known availability.
type refinement struct {
	from Availability
	by   string
	to   Availability
	note string
}

// refinements lists all such pairs; everywhere else Graph's availability stands.
var refinements = []refinement{
	{Away, "BeRightBack", BeRightBack, "the activity names a state of its own in UCWA"},
	{Online, "Inactive", IdleOnline, "no input on any device"},
	{Online, "AvailableInactive", IdleOnline, "an application's session fades after five minutes"},
	{Busy, "Inactive", IdleBusy, "no input on any device"},
	{Busy, "AvailableInactive", IdleBusy, "no input on any device"},
}

// idleSuffix ends a word of the idle form of what precedes it.
const idleSuffix = "Idle"

// shape reads a word that is in no table by its beginning, without regard to
// case; something must follow it.
type shape struct {
	prefix string
	// availability is empty where such a word says nothing.
	availability Availability
	note         string
}

// shapes are tried in order; the first that fits decides.
var shapes = []shape{
	{"Inactiv", "", "kin of Inactive, not of InACall: says nothing"},
	{"InA", Busy, ""},
	{"OnThe", Busy, ""},
}

// idleForms are the availabilities that have an idle form.
var idleForms = []struct{ from, to Availability }{
	{Online, IdleOnline},
	{Busy, IdleBusy},
}

// workLocations translates workLocation.workLocationType.
var workLocations = []struct {
	graph    string
	location Location
}{
	{"office", Location{office}},
	{"remote", Location{remote}},
	{"timeOff", Location{}},
	{"unspecified", Location{}},
}

// The names of the rules that can decide an availability (Contact.Rule).
const (
	ruleStated   = "stated"
	ruleMoved    = "moved"
	ruleActivity = "activity"
	ruleShape    = "shape"
	ruleUnknown  = "unknown"
	ruleRefined  = "refined"
)

// rules explains the names above, in the order in which they are tried.
var rules = []struct{ name, text string }{
	{ruleStated, "a state word stands in Graph's availability"},
	{ruleMoved, "a state word stands in Graph's activity and is moved"},
	{ruleActivity, "no state word: the activity's own availability, of a word in Graph's availability first; words of inactivity and out of office come after shape"},
	{ruleShape, "a word in no table is read by its shape"},
	{ruleUnknown, "nothing tells: Offline (or None by switch); the last good reading may be held"},
	{ruleRefined, "the availability found above is changed by one of the pairs under \"Changed availability\""},
}

// byFold finds a row by its lower-case word.
var byFold = indexWords(words)

func indexWords(rows []word) map[string]*word {
	index := make(map[string]*word, len(rows))
	for i := range rows {
		var folded [maxWordLength]byte
		index[string(fold(&folded, rows[i].graph))] = &rows[i]
	}
	return index
}

// maxWordLength bounds a known word in bytes; the longest of the table has 23.
const maxWordLength = 32

// fold writes s in lower case into buf and returns the used part, or nil if s
// is too long to be a known word. It does not allocate.
func fold(buf *[maxWordLength]byte, s string) []byte {
	if len(s) > len(buf) {
		return nil
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(s)]
}

// lookup returns the row of a word in any spelling, or nil.
func lookup(s string) *word {
	var folded [maxWordLength]byte
	return byFold[string(fold(&folded, s))]
}
