package mapping

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"
	"pgregory.net/rapid"
)

// shown is the part of a Contact that contactPresence carries, with the
// activity in English.
type shown struct {
	Availability Availability
	Activity     string
}

func show(c Contact) shown { return shown{c.Availability, c.Activity.In(language.English)} }

func TestTranslatePresence(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		availability, activity string
		want                   shown
		rule                   string
	}{
		// Graph's own examples.
		{"example 1: available is online", "Available", "Available", shown{Online, ""}, "stated"},
		{"example 2: presenting does not disturb", "DoNotDisturb", "Presenting", shown{DoNotDisturb, "presenting"}, "stated"},
		{"example 3: away with be right back is be right back", "Away", "BeRightBack", shown{BeRightBack, ""}, "refined"},

		// The availability table.
		{"available idle is idle online", "AvailableIdle", "AvailableIdle", shown{IdleOnline, ""}, "stated"},
		{"busy stays busy", "Busy", "Busy", shown{Busy, ""}, "stated"},
		{"busy idle is idle busy", "BusyIdle", "BusyIdle", shown{IdleBusy, ""}, "stated"},
		{"do not disturb stays", "DoNotDisturb", "DoNotDisturb", shown{DoNotDisturb, ""}, "stated"},
		{"be right back stays", "BeRightBack", "BeRightBack", shown{BeRightBack, ""}, "stated"},
		{"away stays away", "Away", "Away", shown{Away, ""}, "stated"},
		{"offline stays offline", "Offline", "Offline", shown{Offline, ""}, "stated"},
		{"appear offline is offline and off work", "Offline", "OffWork", shown{Offline, "off-work"}, "stated"},
		{"out of office alone is away", "OutOfOffice", "", shown{Away, "out-of-office"}, "activity"},
		{"out of office in both fields is away", "OutOfOffice", "OutOfOffice", shown{Away, "out-of-office"}, "activity"},
		{"focusing as availability does not disturb", "focusing", "", shown{DoNotDisturb, "Focusing"}, "activity"},
		{"presenting as availability does not disturb", "presenting", "", shown{DoNotDisturb, "presenting"}, "activity"},
		{"in a call as availability is busy", "inACall", "", shown{Busy, "on-the-phone"}, "activity"},
		{"in a meeting as availability is busy", "inAMeeting", "", shown{Busy, "in-a-meeting"}, "activity"},
		{"in a conference call as availability is busy", "inAConferenceCall", "", shown{Busy, "in-a-conference"}, "activity"},
		{"unknown presence is offline", "PresenceUnknown", "PresenceUnknown", shown{Offline, ""}, "unknown"},
		{"absent presence is offline", "", "", shown{Offline, ""}, "unknown"},

		// The activity table: with its usual availability, and without one.
		{"in a call is on the phone", "Busy", "InACall", shown{Busy, "on-the-phone"}, "stated"},
		{"in a call alone is busy", "", "InACall", shown{Busy, "on-the-phone"}, "activity"},
		{"on the phone is on the phone", "Busy", "OnThePhone", shown{Busy, "on-the-phone"}, "stated"},
		{"on the phone alone is busy", "PresenceUnknown", "OnThePhone", shown{Busy, "on-the-phone"}, "activity"},
		{"a conference call is in a conference", "Busy", "InAConferenceCall", shown{Busy, "in-a-conference"}, "stated"},
		{"a conference call alone is busy", "", "InAConferenceCall", shown{Busy, "in-a-conference"}, "activity"},
		{"a meeting is in a meeting", "Busy", "InAMeeting", shown{Busy, "in-a-meeting"}, "stated"},
		{"a meeting alone is busy", "", "InAMeeting", shown{Busy, "in-a-meeting"}, "activity"},
		{"presenting alone does not disturb", "", "Presenting", shown{DoNotDisturb, "presenting"}, "activity"},
		{"sharing is presenting", "Busy", "InASharing", shown{Busy, "presenting"}, "stated"},
		{"sharing alone does not disturb", "", "InASharing", shown{DoNotDisturb, "presenting"}, "activity"},
		{"urgent interruptions pass do not disturb through", "DoNotDisturb", "UrgentInterruptionsOnly", shown{DoNotDisturb, "urgent-interruptions-only"}, "stated"},
		{"urgent interruptions pass busy through", "Busy", "UrgentInterruptionsOnly", shown{Busy, "urgent-interruptions-only"}, "stated"},
		{"urgent interruptions alone do not disturb", "", "UrgentInterruptionsOnly", shown{DoNotDisturb, "urgent-interruptions-only"}, "activity"},
		{"off work passes availability through", "Away", "OffWork", shown{Away, "off-work"}, "stated"},
		{"off work alone is offline", "", "OffWork", shown{Offline, "off-work"}, "activity"},
		{"available and out of office stays online", "Available", "OutOfOffice", shown{Online, "out-of-office"}, "stated"},
		{"offline and out of office stays offline", "Offline", "OutOfOffice", shown{Offline, "out-of-office"}, "stated"},
		{"out of office with unknown availability is away", "PresenceUnknown", "OutOfOffice", shown{Away, "out-of-office"}, "activity"},
		{"focusing is a text", "DoNotDisturb", "Focusing", shown{DoNotDisturb, "Focusing"}, "stated"},
		{"focusing alone does not disturb", "", "Focusing", shown{DoNotDisturb, "Focusing"}, "activity"},
		{"an activity without availability names the state itself", "", "Busy", shown{Busy, ""}, "moved"},
		{"an activity beside unknown presence names the state itself", "PresenceUnknown", "Available", shown{Online, ""}, "moved"},
		{"an unknown activity is left out", "Available", "PresenceUnknown", shown{Online, ""}, "stated"},
		{"an absent activity is left out", "Busy", "", shown{Busy, ""}, "stated"},

		// Inactivity.
		{"available and fading is idle online", "Available", "AvailableInactive", shown{IdleOnline, ""}, "refined"},
		{"available and inactive is idle online", "Available", "Inactive", shown{IdleOnline, ""}, "refined"},
		{"available idle and inactive is idle online", "AvailableIdle", "Inactive", shown{IdleOnline, ""}, "stated"},
		{"busy and inactive is idle busy", "Busy", "Inactive", shown{IdleBusy, ""}, "refined"},
		{"busy and fading is idle busy", "Busy", "AvailableInactive", shown{IdleBusy, ""}, "refined"},
		{"away and inactive is away", "Away", "Inactive", shown{Away, ""}, "stated"},
		{"do not disturb and inactive has no idle form", "DoNotDisturb", "Inactive", shown{DoNotDisturb, ""}, "stated"},
		{"offline and inactive is offline", "Offline", "Inactive", shown{Offline, ""}, "stated"},
		{"inactive alone is away", "", "Inactive", shown{Away, ""}, "activity"},
		{"fading alone is away", "", "AvailableInactive", shown{Away, ""}, "activity"},

		// Rule 1: any case, any field.
		{"camel case is understood", "doNotDisturb", "presenting", shown{DoNotDisturb, "presenting"}, "stated"},
		{"upper case and space are understood", "  BUSY\t", " INAMEETING ", shown{Busy, "in-a-meeting"}, "stated"},
		{"exchanged fields are put right", "inAMeeting", "Busy", shown{Busy, "in-a-meeting"}, "moved"},
		{"an exchanged activity does not change the state", "inAMeeting", "available", shown{Online, "in-a-meeting"}, "moved"},
		{"an exchanged out of office does not change the state", "outOfOffice", "available", shown{Online, "out-of-office"}, "moved"},
		{"focusing and do not disturb exchanged are put right", "focusing", "doNotDisturb", shown{DoNotDisturb, "Focusing"}, "moved"},
		{"be right back with away is be right back", "BeRightBack", "Away", shown{BeRightBack, ""}, "stated"},
		{"two activities are each read where they stand", "inAMeeting", "presenting", shown{Busy, "presenting"}, "activity"},
		{"two states: the availability's one stands", "Busy", "Available", shown{Busy, ""}, "stated"},

		// Rule 2: an activity never changes a known availability.
		{"a call does not make an available person busy", "Available", "InACall", shown{Online, "on-the-phone"}, "stated"},
		{"presenting does not change busy", "Busy", "Presenting", shown{Busy, "presenting"}, "stated"},

		// Joined words.
		{"a call and out of office is the call", "Busy", "InACall + OOF", shown{Busy, "on-the-phone"}, "stated"},
		{"a call and out of office alone is busy", "", "InACall + OOF", shown{Busy, "on-the-phone"}, "activity"},
		{"out of office before the call is still the call", "", "OutOfOffice,InACall", shown{Busy, "on-the-phone"}, "activity"},
		{"a meeting and out of office by comma is the meeting", "Busy", "InAMeeting, OutOfOffice", shown{Busy, "in-a-meeting"}, "stated"},
		{"joined words as availability are moved", "Available + OOF", "", shown{Online, "out-of-office"}, "stated"},
		{"out of office in one field, a call in the other", "OutOfOffice", "InACall", shown{Busy, "on-the-phone"}, "activity"},
		{"separators alone say nothing", "+", " , ;", shown{Offline, ""}, "unknown"},

		// Rule 4: words in neither table.
		{"an unknown idle word is idle online", "HologramIdle", "", shown{IdleOnline, ""}, "shape"},
		{"an unknown idle form of a call is idle busy", "InACallIdle", "", shown{IdleBusy, ""}, "shape"},
		{"an unknown idle form of an unknown call is idle busy", "InAHologramIdle", "", shown{IdleBusy, ""}, "shape"},
		{"an idle form that does not exist falls back to the state", "DoNotDisturbIdle", "", shown{DoNotDisturb, ""}, "shape"},
		{"an unknown in-a word is busy", "InAWorkshop", "", shown{Busy, ""}, "shape"},
		{"an unknown in-a activity alone is busy", "", "inaworkshop", shown{Busy, ""}, "shape"},
		{"an unknown on-the word is busy", "OnTheMoon", "", shown{Busy, ""}, "shape"},
		{"a beginning with nothing behind it has no shape", "InA", "", shown{Offline, ""}, "unknown"},
		{"a kin of inactive is not busy", "InactiveMobile", "", shown{Offline, ""}, "unknown"},
		{"an unknown word without shape is unknown", "Levitating", "Levitating", shown{Offline, ""}, "unknown"},
		{"an unknown activity leaves a known availability alone", "Available", "InAWorkshop", shown{Online, ""}, "stated"},
		{"a known activity is worth more than a shape", "InAWorkshop", "Presenting", shown{DoNotDisturb, "presenting"}, "activity"},
		{"a shape is worth more than inactivity, which refines it", "InAWorkshop", "Inactive", shown{IdleBusy, ""}, "refined"},
		{"an unknown availability without shape leaves it to the activity", "Levitating", "InAMeeting", shown{Busy, "in-a-meeting"}, "activity"},
		{"a very long word is unknown", strings.Repeat("Available", 1000), "", shown{Offline, ""}, "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Translate(Presence{Availability: tt.availability, Activity: tt.activity}, Options{})
			require.Equal(t, tt.want, show(c))
			require.Equal(t, tt.rule, c.Rule)
			require.Equal(t, tt.rule == "unknown", c.Indefinite)
		})
	}
}

func TestTranslateOutOfOffice(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Presence
		o    Options
		want shown
	}{
		{"the setting is added where no activity stands", Presence{Availability: "Available", Activity: "Available", OutOfOffice: true}, Options{}, shown{Online, "out-of-office"}},
		{"the setting does not replace a token", Presence{Availability: "Busy", Activity: "InAMeeting", OutOfOffice: true}, Options{}, shown{Busy, "in-a-meeting"}},
		{"the setting does not replace a text", Presence{Availability: "DoNotDisturb", Activity: "Focusing", OutOfOffice: true}, Options{}, shown{DoNotDisturb, "Focusing"}},
		{"the setting does not replace off work", Presence{Availability: "Offline", Activity: "OffWork", OutOfOffice: true}, Options{}, shown{Offline, "off-work"}},
		{"the setting leaves offline offline", Presence{Availability: "Offline", Activity: "Offline", OutOfOffice: true}, Options{}, shown{Offline, "out-of-office"}},
		{"the setting does not make an unknown presence away", Presence{Availability: "PresenceUnknown", OutOfOffice: true}, Options{}, shown{Offline, "out-of-office"}},
		{"the switch leaves the setting out", Presence{Availability: "Away", OutOfOffice: true}, Options{OmitOutOfOfficeActivity: true}, shown{Away, ""}},
		{"the switch leaves the word out", Presence{Availability: "Available", Activity: "OutOfOffice"}, Options{OmitOutOfOfficeActivity: true}, shown{Online, ""}},
		{"the switch leaves other tokens alone", Presence{Availability: "Busy", Activity: "InACall + OOF"}, Options{OmitOutOfOfficeActivity: true}, shown{Busy, "on-the-phone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, show(Translate(tt.p, tt.o)))
		})
	}
}

func TestTranslateUnknownPresence(t *testing.T) {
	t.Run("the switch makes unknown None", func(t *testing.T) {
		for _, word := range []string{"PresenceUnknown", "", "Levitating"} {
			c := Translate(Presence{Availability: word}, Options{UnknownAsNone: true})
			require.Equal(t, NoAvailability, c.Availability, word)
			require.True(t, c.Indefinite, word)
		}
	})
	t.Run("the switch leaves what Graph calls offline", func(t *testing.T) {
		c := Translate(Presence{Availability: "Offline"}, Options{UnknownAsNone: true})
		require.Equal(t, Offline, c.Availability)
		require.False(t, c.Indefinite)
	})
	t.Run("unknown words are listed once each, as written", func(t *testing.T) {
		c := Translate(Presence{Availability: "Levitating", Activity: "levitating + InAHologram, Busy"}, Options{})
		require.Equal(t, []string{"Levitating", "InAHologram"}, c.Unknown)
		require.Equal(t, Busy, c.Availability)
	})
	t.Run("known words are not listed", func(t *testing.T) {
		require.Nil(t, Translate(Presence{Availability: "PresenceUnknown", Activity: "InAMeeting"}, Options{}).Unknown)
	})
	t.Run("a flood of words is cut off", func(t *testing.T) {
		flood := strings.Repeat("a+", 3) + "b,c,d,e,f,g,h,i,j,k"
		require.LessOrEqual(t, len(Translate(Presence{Availability: flood}, Options{}).Unknown), 8)
	})
}

func TestTranslateNote(t *testing.T) {
	for _, tt := range []struct {
		name     string
		p        Presence
		wantType NoteType
		want     string
	}{
		{"nothing is an empty personal note", Presence{}, Personal, ""},
		{"a status message is personal", Presence{StatusMessage: "In the lab"}, Personal, "In the lab"},
		{"space around a status message goes", Presence{StatusMessage: " In the lab\r\n"}, Personal, "In the lab"},
		{"the mark of a pinned message goes", Presence{StatusMessage: "In the lab<pinnednote></pinnednote>"}, Personal, "In the lab"},
		{"a pinned message without text is empty", Presence{StatusMessage: "<pinnednote></pinnednote>"}, Personal, ""},
		{"anything else in a message stays", Presence{StatusMessage: "<b>1 < 2</b> & \U0001F6A2"}, Personal, "<b>1 < 2</b> & \U0001F6A2"},
		{"out of office with a text wins", Presence{OutOfOffice: true, OutOfOfficeMessage: " Back on Monday ", StatusMessage: "In the lab"}, OutOfOffice, "Back on Monday"},
		{"out of office without a text leaves the message", Presence{OutOfOffice: true, OutOfOfficeMessage: " \n", StatusMessage: "In the lab"}, Personal, "In the lab"},
		{"a text of somebody who is not out of office does not show", Presence{OutOfOfficeMessage: "Back on Monday", StatusMessage: "In the lab"}, Personal, "In the lab"},
		{"out of office as a word counts", Presence{Activity: "OutOfOffice", OutOfOfficeMessage: "Back on Monday"}, OutOfOffice, "Back on Monday"},
		{"out of office beside a call goes to the note", Presence{Activity: "InACall + OOF", OutOfOfficeMessage: "Back on Monday"}, OutOfOffice, "Back on Monday"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, o := range []Options{{}, {OmitOutOfOfficeActivity: true}} {
				c := Translate(tt.p, o)
				require.Equal(t, tt.wantType, c.NoteType)
				require.Equal(t, tt.want, c.Note)
			}
		})
	}
}

func TestTranslateLocation(t *testing.T) {
	for graph, want := range map[string]string{
		"office": "Office", " OFFICE": "Office", "remote": "Remote", "Remote": "Remote",
		"timeOff": "", "unspecified": "", "": "", "unknownFutureValue": "",
	} {
		t.Run("work location "+graph, func(t *testing.T) {
			c := Translate(Presence{Availability: "Available", WorkLocation: graph}, Options{})
			require.Equal(t, want, c.Location.In(language.English))
			require.Equal(t, want == "", c.Location.IsZero())
			require.Nil(t, c.Unknown, "a location is not a presence word")
		})
	}
}

func TestActive(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		availability, activity string
		want                   bool
	}{
		{"available is active", "Available", "Available", true},
		{"busy is active", "Busy", "InAMeeting", true},
		{"do not disturb is active", "DoNotDisturb", "Presenting", true},
		{"an exchanged word is active", "inAMeeting", "busy", true},
		{"available but inactive is not", "Available", "Inactive", false},
		{"available but fading is not", "Available", "AvailableInactive", false},
		{"available idle is not", "AvailableIdle", "AvailableIdle", false},
		{"busy idle is not", "BusyIdle", "InAMeeting", false},
		{"away is not", "Away", "Away", false},
		{"be right back is not", "Away", "BeRightBack", false},
		{"offline is not", "Offline", "OffWork", false},
		{"unknown is not", "PresenceUnknown", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, Active(Presence{Availability: tt.availability, Activity: tt.activity}))
		})
	}
}

// anyPresence draws words of the tables, in any case, joined or not, among
// words that are in none.
func anyPresence() *rapid.Generator[Presence] {
	known := make([]string, 0, len(words)+4)
	for _, w := range words {
		known = append(known, w.graph)
	}
	known = append(known, "", "Levitating", "InAHologram", "HologramIdle")
	one := rapid.OneOf(rapid.SampledFrom(known), rapid.SampledFrom(known), rapid.String())
	field := rapid.Custom(func(t *rapid.T) string {
		joined := rapid.SliceOfN(one, 0, 3).Draw(t, "words")
		return strings.Join(joined, rapid.SampledFrom([]string{" + ", ",", "; "}).Draw(t, "separator"))
	})
	return rapid.Custom(func(t *rapid.T) Presence {
		return Presence{
			Availability:       field.Draw(t, "availability"),
			Activity:           field.Draw(t, "activity"),
			OutOfOffice:        rapid.Bool().Draw(t, "out of office"),
			OutOfOfficeMessage: rapid.String().Draw(t, "auto-reply"),
			StatusMessage:      rapid.String().Draw(t, "status message"),
			WorkLocation:       rapid.SampledFrom([]string{"", "office", "remote", "timeOff", "else"}).Draw(t, "work location"),
		}
	})
}

func anyOptions() *rapid.Generator[Options] {
	return rapid.Custom(func(t *rapid.T) Options {
		return Options{UnknownAsNone: rapid.Bool().Draw(t, "none"), OmitOutOfOfficeActivity: rapid.Bool().Draw(t, "omit")}
	})
}

// checkMembers fails unless c holds only values a typed client accepts.
func checkMembers(t require.TestingT, c Contact, o Options) {
	allowed := Availabilities()
	if o.UnknownAsNone {
		allowed = append(allowed, NoAvailability)
	}
	require.Contains(t, allowed, c.Availability)
	require.Contains(t, []NoteType{Personal, OutOfOffice}, c.NoteType)
	require.Equal(t, c.Activity.IsZero(), c.Activity.In(language.English) == "")
	if c.Indefinite {
		require.Equal(t, ruleUnknown, c.Rule)
	}
}

func TestTranslateEmitsOnlyMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := anyOptions().Draw(t, "options")
		checkMembers(t, Translate(anyPresence().Draw(t, "presence"), o), o)
	})
}

func TestTranslateIgnoresCase(t *testing.T) {
	ascii := func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}
	rapid.Check(t, func(t *rapid.T) {
		p, o := anyPresence().Draw(t, "presence"), anyOptions().Draw(t, "options")
		upper := p
		upper.Availability, upper.Activity = strings.Map(ascii, p.Availability), strings.Map(ascii, p.Activity)
		a, b := Translate(p, o), Translate(upper, o)
		require.Equal(t, len(a.Unknown), len(b.Unknown))
		a.Unknown, b.Unknown = nil, nil
		require.Equal(t, a, b)
	})
}

func TestMovingWordsTwiceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, o := anyPresence().Draw(t, "presence"), anyOptions().Draw(t, "options")
		once := Explain(p.Availability, p.Activity, language.English, o)
		twice := Explain(once.ReadAvailability, once.ReadActivity, language.English, o)
		require.Equal(t, once.ReadAvailability, twice.ReadAvailability)
		require.Equal(t, once.ReadActivity, twice.ReadActivity)
		require.Equal(t, show(once.Contact), show(twice.Contact))
	})
}

func TestExchangedFieldsAreEqual(t *testing.T) {
	for _, a := range words {
		for _, b := range words {
			if a.kind != state || b.kind == state {
				continue
			}
			straight := Translate(Presence{Availability: a.graph, Activity: b.graph}, Options{})
			crossed := Translate(Presence{Availability: b.graph, Activity: a.graph}, Options{})
			require.Equal(t, show(straight), show(crossed), "%s with %s", a.graph, b.graph)
		}
	}
}

func TestActivityNeverChangesAvailability(t *testing.T) {
	listed := func(a Availability, by string) bool {
		for _, r := range refinements {
			if r.from == a && r.by == by {
				return true
			}
		}
		return false
	}
	for _, a := range words {
		for _, b := range words {
			if a.kind == state && !listed(a.availability, b.graph) {
				got := Translate(Presence{Availability: a.graph, Activity: b.graph}, Options{})
				require.Equal(t, a.availability, got.Availability, "%s with %s", a.graph, b.graph)
			}
		}
	}
}

func FuzzTranslate(f *testing.F) {
	f.Add("Available", "Available", false, "", "", "office", false)
	f.Add("DoNotDisturb", "Presenting", true, "Back on Monday", "", "remote", true)
	f.Add("inAMeeting", "Busy", false, "", "In the lab<pinnednote></pinnednote>", "timeOff", false)
	f.Add("PresenceUnknown", "InACall + OOF", false, "x", "y", "", true)
	f.Add("IdleIdleIdle", "InA,OnThe;Inactiv|\x00/\xff&é", true, "\xff", "\x00", "OFFICE", false)
	f.Fuzz(func(t *testing.T, availability, activity string, out bool, reply, status, place string, flag bool) {
		p := Presence{availability, activity, out, reply, status, place}
		o := Options{UnknownAsNone: flag, OmitOutOfOfficeActivity: !flag}
		c := Translate(p, o)
		checkMembers(t, c, o)
		require.LessOrEqual(t, len(c.Unknown), maxWords)
		e := Explain(availability, activity, language.German, o)
		require.Equal(t, c.Availability, e.Contact.Availability)
		require.NotEmpty(t, e.String())
	})
}

func TestTranslateDoesNotAllocate(t *testing.T) {
	for _, p := range commonPresences {
		t.Run(p.Availability+" "+p.Activity, func(t *testing.T) {
			var c Contact
			require.Zero(t, testing.AllocsPerRun(100, func() { c = Translate(p, Options{}) }))
			require.Zero(t, testing.AllocsPerRun(100, func() { Active(p) }))
			require.Zero(t, testing.AllocsPerRun(100, func() { _ = c.Activity.In(language.German) }))
		})
	}
}

var commonPresences = []Presence{
	{Availability: "Available", Activity: "Available"},
	{Availability: "Busy", Activity: "InAMeeting", StatusMessage: " In the lab "},
	{Availability: "DoNotDisturb", Activity: "Focusing", WorkLocation: "remote"},
	{Availability: "Away", Activity: "BeRightBack", OutOfOffice: true, OutOfOfficeMessage: "Back on Monday"},
	{Availability: "inAMeeting", Activity: "busy"},
	{Availability: "", Activity: "InACall + OOF"},
	{Availability: "PresenceUnknown", Activity: "PresenceUnknown"},
}

func BenchmarkTranslate(b *testing.B) {
	for _, p := range commonPresences {
		b.Run(p.Availability+"_"+strings.ReplaceAll(p.Activity, " ", ""), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Translate(p, Options{})
			}
		})
	}
}
