package mapping

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/language"
)

// Explanation tells how one pair of words was translated. It is made for
// people: `ucwagate map explain` prints it.
type Explanation struct {
	// Availability and Activity are the words as given.
	Availability, Activity string
	// ReadAvailability and ReadActivity are the words that count, each in the
	// field where it was read and in the table's spelling, joined by " + ".
	// Unknown words are among them; words that say nothing are not. Explaining
	// these two gives the same availability and activity.
	ReadAvailability, ReadActivity string
	// Steps are the rules that fired, in order, one sentence each.
	Steps []string
	// Contact is the outcome.
	Contact Contact
	// Culture is the culture of the texts.
	Culture language.Tag
}

// Explain translates a pair of words of Graph, as Translate does, and says why.
func Explain(availability, activity string, culture language.Tag, o Options) Explanation {
	p := Presence{Availability: availability, Activity: activity}
	r := read(p)
	v := r.decide()
	return Explanation{
		Availability:     availability,
		Activity:         activity,
		ReadAvailability: r.words(inAvailability),
		ReadActivity:     r.words(inActivity),
		Steps:            r.steps(v, o),
		Contact:          r.contact(p, v, o),
		Culture:          culture,
	}
}

// words joins the words read in a field.
func (r *reading) words(f field) string {
	var list []string
	for _, h := range r.hits[:r.n] {
		if h.in == f {
			list = append(list, h.name())
		}
	}
	return strings.Join(list, " + ")
}

func (h hit) name() string {
	if h.word == nil {
		return h.raw
	}
	return h.word.graph
}

func (r *reading) steps(v verdict, o Options) []string {
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	for _, h := range r.hits[:r.n] {
		switch {
		case h.word == nil:
			add("%q is in no table", h.raw)
		case h.from != h.in:
			add("%s belongs to %s and is moved there", h.word.graph, h.in)
		}
	}
	base := r.availability()
	switch base.rule {
	case ruleStated, ruleMoved:
		add("%s means %s", base.by.graph, base.availability)
	case ruleActivity:
		add("no state is given: %s stands for %s", base.by.graph, base.availability)
	case ruleShape:
		add("the shape of an unknown word stands for %s", base.availability)
	case ruleUnknown:
		add("nothing says how available the person is: the last good reading may be held")
	}
	if v.refined != nil {
		add("%s with %s becomes %s: %s", v.refined.from, v.refined.by, v.refined.to, v.refined.note)
	}
	switch {
	case v.shown != nil:
		add("%s shows as %s", v.shown.graph, v.shown.activity.describe())
	case v.absent && o.OmitOutOfOfficeActivity:
		add("out of office is left out by switch")
	case v.absent:
		add("out of office shows as %s", outOfOfficeActivity.describe())
	default:
		add("the activity is left out")
	}
	return steps
}

func (f field) String() string {
	if f == inAvailability {
		return "availability"
	}
	return "activity"
}

// describe tells a token from a text.
func (a Activity) describe() string {
	if a.phrase != noPhrase {
		return fmt.Sprintf("the text %q", a.In(language.English))
	}
	if a.IsZero() {
		return "left out"
	}
	return a.token
}

// String returns the explanation as lines of text.
func (e Explanation) String() string {
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("%-16s %s", name, value), " "))
	}
	line("given", fmt.Sprintf("availability %q, activity %q", e.Availability, e.Activity))
	line("read as", fmt.Sprintf("availability %q, activity %q", e.ReadAvailability, e.ReadActivity))
	for i, step := range e.Steps {
		name := ""
		if i == 0 {
			name = "because"
		}
		line(name, step)
	}
	activity := "(left out)"
	if !e.Contact.Activity.IsZero() {
		activity = e.Contact.Activity.In(e.Culture)
	}
	line("rule", e.Contact.Rule)
	line("culture", e.Culture.String())
	b.WriteString("contactPresence\n")
	line("  availability", string(e.Contact.Availability))
	line("  activity", activity)
	line("  deviceType", DeviceType)
	return b.String()
}

// WriteTo writes String to w.
func (e Explanation) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, e.String())
	if err != nil {
		return int64(n), fmt.Errorf("writing the explanation: %w", err)
	}
	return int64(n), nil
}
