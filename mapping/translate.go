package mapping

import "strings"

// Translate turns what Graph says of a person into what UCWA shows. It accepts
// any words in any spelling, never fails, and does not allocate unless it meets
// unknown words.
func Translate(p Presence, o Options) Contact {
	r := read(p)
	return r.contact(p, r.decide(), o)
}

// Active reports whether the person is seen at work: Available, Busy or
// DoNotDisturb, and not idle. It is what feeds UCWA's lastActive.
func Active(p Presence) bool {
	r := read(p)
	switch r.decide().availability {
	case Online, Busy, DoNotDisturb:
		return true
	}
	return false
}

// field is one of the two properties in which Graph puts its words.
type field uint8

const (
	inAvailability field = iota
	inActivity
)

// hit is one word that Graph said.
type hit struct {
	raw  string
	word *word // nil for a word in no table
	// from is where it stood, in is where it belongs and is read.
	from, in field
}

// maxWords bounds how many words of one presence are read. Graph sends two,
// seldom three; what lies beyond is ignored.
const maxWords = 8

// reading is the words of one presence, each in the field where it is read.
// Words that say nothing are not in it. It lives on the stack.
type reading struct {
	hits [maxWords]hit
	n    int
}

// separators stand between words joined in one field, as in "InACall + OOF".
const separators = "+,;/|&"

func read(p Presence) reading {
	var r reading
	r.scan(p.Availability, inAvailability)
	r.scan(p.Activity, inActivity)
	r.move()
	return r
}

func (r *reading) scan(text string, f field) {
	for text != "" && r.n < maxWords {
		raw := text
		if i := strings.IndexAny(text, separators); i >= 0 {
			raw, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		raw = strings.TrimSpace(raw)
		w := lookup(raw)
		if raw == "" || (w != nil && w.kind == silence) {
			continue
		}
		r.hits[r.n] = hit{raw: raw, word: w, from: f, in: f}
		r.n++
	}
}

// move puts words met in the wrong field into the right one, unless that has a
// word of its own: then each is read where it stands.
func (r *reading) move() {
	var stated, active bool
	for _, h := range r.hits[:r.n] {
		if h.word == nil {
			continue
		}
		stated = stated || (h.from == inAvailability && h.word.kind == state)
		active = active || (h.from == inActivity && h.word.kind != state)
	}
	for i := range r.hits[:r.n] {
		h := &r.hits[i]
		switch {
		case h.word == nil:
		case h.word.kind == state && !stated:
			h.in = inAvailability
		case h.word.kind != state && !active:
			h.in = inActivity
		}
	}
}

// pick returns the first word of a kind, the given field before the other one,
// or nil.
func (r *reading) pick(k kind, first field) *hit {
	var other *hit
	for i := range r.hits[:r.n] {
		h := &r.hits[i]
		if h.word == nil || h.word.kind != k {
			continue
		}
		if h.in == first {
			return h
		}
		if other == nil {
			other = h
		}
	}
	return other
}

// verdict is what the words of a reading come to.
type verdict struct {
	// availability is empty where nothing tells.
	availability Availability
	// rule is the last rule that decided availability.
	rule string
	// by is the row that decided before a refinement, nil for a shape or none.
	by *word
	// refined is the row that changed it, or nil.
	refined *refinement
	// shown is the row whose activity is shown, or nil.
	shown *word
	// absent is set where a word says out of office.
	absent bool
}

func (r *reading) decide() verdict {
	v := r.availability()
	for i := range refinements {
		row := &refinements[i]
		if v.availability == row.from && r.says(row.by) {
			v.availability, v.refined, v.rule = row.to, row, ruleRefined
			break
		}
	}
	v.absent = r.pick(absence, inActivity) != nil
	if h := r.pick(doing, inActivity); h != nil {
		v.shown = h.word
	}
	return v
}

// availability applies the rules that find one, strongest first.
func (r *reading) availability() verdict {
	if h := r.pick(state, inAvailability); h != nil {
		v := verdict{availability: h.word.availability, rule: ruleStated, by: h.word}
		if h.from != inAvailability {
			v.rule = ruleMoved
		}
		return v
	}
	if h := r.pick(doing, inAvailability); h != nil {
		return verdict{availability: h.word.availability, rule: ruleActivity, by: h.word}
	}
	for _, h := range r.hits[:r.n] {
		if h.word != nil {
			continue
		}
		if a, ok := byShape(h.raw); ok {
			return verdict{availability: a, rule: ruleShape}
		}
	}
	for _, k := range [...]kind{quiet, absence} {
		if h := r.pick(k, inAvailability); h != nil {
			return verdict{availability: h.word.availability, rule: ruleActivity, by: h.word}
		}
	}
	return verdict{rule: ruleUnknown}
}

// says reports whether a word of the table was said.
func (r *reading) says(graph string) bool {
	for _, h := range r.hits[:r.n] {
		if h.word != nil && h.word.graph == graph {
			return true
		}
	}
	return false
}

// byShape reads a word that is in no table, and reports false where its shape
// says nothing.
func byShape(raw string) (Availability, bool) {
	stem, idle := raw, false
	for {
		rest, ok := cutSuffixFold(stem, idleSuffix)
		if !ok {
			break
		}
		stem, idle = rest, true
	}
	var a Availability
	if w := lookup(stem); w != nil {
		a = w.availability
	} else {
		a = byPrefix(stem)
	}
	switch {
	case !idle:
		return a, a != ""
	case a == "":
		a = Online
	}
	for _, form := range idleForms {
		if form.from == a {
			return form.to, true
		}
	}
	return a, true
}

func byPrefix(s string) Availability {
	for i := range shapes {
		row := &shapes[i]
		if len(s) > len(row.prefix) && strings.EqualFold(s[:len(row.prefix)], row.prefix) {
			return row.availability
		}
	}
	return ""
}

func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

func (r *reading) contact(p Presence, v verdict, o Options) Contact {
	c := Contact{Availability: v.availability, Rule: v.rule, Unknown: r.unknown(), Location: location(p.WorkLocation)}
	if c.Availability == "" {
		c.Indefinite = true
		c.Availability = Offline
		if o.UnknownAsNone {
			c.Availability = NoAvailability
		}
	}
	absent := v.absent || p.OutOfOffice
	switch {
	case v.shown != nil:
		c.Activity = v.shown.activity
	case absent && !o.OmitOutOfOfficeActivity:
		c.Activity = outOfOfficeActivity
	}
	c.NoteType, c.Note = note(p, absent)
	return c
}

// unknown returns the words in no table, each once whatever its case.
func (r *reading) unknown() []string {
	var list []string
next:
	for _, h := range r.hits[:r.n] {
		if h.word != nil {
			continue
		}
		for _, seen := range list {
			if strings.EqualFold(seen, h.raw) {
				continue next
			}
		}
		list = append(list, h.raw)
	}
	return list
}

// pinMark ends a status message that its author pinned to the compose box of
// Teams; clients of Graph see it in the text and must take it off.
const pinMark = "<pinnednote></pinnednote>"

// note chooses the note: the out-of-office text of somebody who is out of
// office, else the status message, else nothing.
func note(p Presence, absent bool) (NoteType, string) {
	if absent {
		if text := strings.TrimSpace(p.OutOfOfficeMessage); text != "" {
			return OutOfOffice, text
		}
	}
	text := strings.TrimSpace(p.StatusMessage)
	return Personal, strings.TrimSpace(strings.TrimSuffix(text, pinMark))
}

func location(workLocation string) Location {
	workLocation = strings.TrimSpace(workLocation)
	for _, row := range workLocations {
		if strings.EqualFold(row.graph, workLocation) {
			return row.location
		}
	}
	return Location{}
}
