package graphsim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/people"
)

// words are the two values of a presence.
type words struct{ availability, activity string }

// Presence is what is true of a user at a moment.
type Presence struct {
	ID           string
	Availability string
	Activity     string
	// StatusMessage is the note, empty if there is none. StatusPublished and
	// StatusExpires are zero where they are not known.
	StatusMessage                  string
	StatusPublished, StatusExpires time.Time
	OutOfOffice                    bool
	OutOfOfficeMessage             string
	// WorkLocation is empty if there is none.
	WorkLocation WorkLocation
	// Sequence rises with every change.
	Sequence uint32
}

// WorkLocation is where a user works. Type is unspecified, office, remote or
// timeOff, Source none, manual, scheduled or automatic.
type WorkLocation struct{ Type, Source, PlaceID string }

// presences is the presence of everyone: five bytes per user, and an overlay
// for those of whom something was set.
type presences struct {
	dir   *people.Directory
	seed  uint64
	clock clock.Clock

	mu       sync.Mutex
	states   []state  // what the workday says
	changed  []uint32 // value of last at the user's last change
	last     uint32   // number of changes so far
	overlays map[int]*overlay
}

// overlay is what was set of a user on top of the workday.
type overlay struct {
	pinned    *words             // set by hand; the workday is not heard
	sessions  map[string]session // by client id of the app
	preferred *preferred
	note      *note
	office    *outOfOffice
	location  *WorkLocation
	shown     words // what was last told, to notice changes by passing time
}

// session is an application's presence session.
type session struct {
	words
	since, expires time.Time
}

type preferred struct {
	words
	expires time.Time
}

type note struct {
	text               string
	published, expires time.Time // a zero expires means never
}

type outOfOffice struct {
	on      bool
	message string
}

func newPresences(dir *people.Directory, seed uint64, c clock.Clock) *presences {
	p := &presences{
		dir: dir, seed: seed, clock: c, overlays: make(map[int]*overlay),
		states: make([]state, dir.Len()), changed: make([]uint32, dir.Len()),
	}
	for i := range p.states {
		p.states[i] = firstState(seed, i, dir.Person(i).Guest())
	}
	return p
}

// read returns the presence of users; indexes must be valid.
func (p *presences) read(indexes []int) []Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	all := make([]Presence, len(indexes))
	for i, index := range indexes {
		all[i] = p.at(index, now)
	}
	return all
}

// at runs with the lock held.
func (p *presences) at(index int, now time.Time) Presence {
	told := states.word[p.states[index]]
	o := p.overlays[index]
	if o != nil {
		told = p.refresh(index, o, now)
	}
	out := Presence{
		ID: p.dir.Person(index).ID(), Availability: told.availability, Activity: told.activity,
		Sequence: p.changed[index], WorkLocation: p.usualLocation(index), StatusMessage: usualNote(p.seed, index),
	}
	if told.activity == wordOutOfOffice {
		out.OutOfOffice, out.OutOfOfficeMessage = true, "I am out of the office and will read your message when I return."
	}
	if o != nil {
		o.describe(&out, now)
	}
	return out
}

// describe puts what was set beside the words over what is usual.
func (o *overlay) describe(out *Presence, now time.Time) {
	if o.note != nil {
		out.StatusMessage = ""
		if o.note.expires.IsZero() || now.Before(o.note.expires) {
			out.StatusMessage, out.StatusPublished, out.StatusExpires = o.note.text, o.note.published, o.note.expires
		}
	}
	if o.office != nil {
		out.OutOfOffice, out.OutOfOfficeMessage = o.office.on, o.office.message
	}
	if o.location != nil {
		out.WorkLocation = *o.location
	}
}

// refresh computes a user's words now and counts a change if they differ from
// those told last. It runs with the lock held.
func (p *presences) refresh(index int, o *overlay, now time.Time) words {
	told := o.words(p.states[index], now)
	if told != o.shown {
		o.shown = told
		p.touch(index)
	}
	return told
}

// touch counts a change of a user. It runs with the lock held.
func (p *presences) touch(index int) {
	p.last++
	p.changed[index] = p.last
}

// words aggregates as Graph documents it: the preferred presence before the
// sessions, but only while there is a session; among sessions DoNotDisturb
// before Busy before Available before Away.
func (o *overlay) words(s state, now time.Time) words {
	best := states.word[s]
	if o.pinned != nil {
		best = *o.pinned
	}
	// What the workday or a hand says stands for the user's own client, which
	// has no session while the user is offline.
	online := rank(best) > 0
	var leading session
	for app, own := range o.sessions {
		current, alive := own.at(now)
		if !alive {
			delete(o.sessions, app)
			continue
		}
		if own.words = current; own.before(leading) {
			leading = own
		}
	}
	if leading != (session{}) && (rank(leading.words) >= rank(best) || !online) {
		best, online = leading.words, true
	}
	if o.preferred != nil && !now.Before(o.preferred.expires) {
		o.preferred = nil
	}
	if o.preferred != nil && online {
		return o.preferred.words
	}
	return best
}

// before reports whether a session goes before another: that of the higher
// rank, among equals the latest. A session goes before none.
func (s session) before(other session) bool {
	if mine, its := rank(s.words), rank(other.words); other != (session{}) && mine != its {
		return mine > its
	}
	if !s.since.Equal(other.since) {
		return s.since.After(other.since)
	}
	return s.activity > other.activity
}

// rank orders the words of sessions; 0 is no session.
func rank(w words) int {
	switch w.availability {
	case "Offline", "PresenceUnknown":
		return 0
	case "DoNotDisturb":
		return 5
	case "Busy", "BusyIdle":
		return 4
	case "Available":
		return 3
	case "AvailableIdle":
		return 2
	}
	return 1
}

// The times after which an Available session fades ("Manage presence state",
// Microsoft Graph documentation).
const (
	fadeToInactive = 5 * time.Minute
	fadeToAway     = 10 * time.Minute
)

// at is what the session says now; it is not alive once expired.
func (s session) at(now time.Time) (w words, alive bool) {
	if !now.Before(s.expires) {
		return words{}, false
	}
	if s.availability == "Available" {
		switch age := now.Sub(s.since); {
		case age >= fadeToAway:
			return words{"Away", "Away"}, true
		case age >= fadeToInactive:
			return words{"Available", "AvailableInactive"}, true
		}
	}
	return s.words, true
}

// change applies an edit to a user's overlay and counts it as a change.
func (p *presences) change(index int, edit func(o *overlay, now time.Time)) Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	o := p.overlays[index]
	if o == nil {
		o = &overlay{shown: states.word[p.states[index]], sessions: make(map[string]session)}
		p.overlays[index] = o
	}
	o.words(p.states[index], now) // lets go of what has expired
	edit(o, now)
	o.shown = o.words(p.states[index], now)
	p.touch(index)
	if o.empty() {
		delete(p.overlays, index)
	}
	return p.at(index, now)
}

func (o *overlay) empty() bool {
	return o.pinned == nil && len(o.sessions) == 0 && o.preferred == nil && o.note == nil && o.office == nil && o.location == nil
}

// usualLocation is where a user works unless something else was set: four of
// ten say so.
func (p *presences) usualLocation(index int) WorkLocation {
	switch draw(p.seed, "location", index) % 10 {
	case 0, 1:
		return WorkLocation{Type: "office", Source: "automatic", PlaceID: p.dir.PlaceID(index)}
	case 2:
		return WorkLocation{Type: "office", Source: "scheduled"}
	case 3:
		return WorkLocation{Type: "remote", Source: "manual"}
	}
	return WorkLocation{}
}

var usualNotes = []string{
	"On site this week", "Please write instead of calling", "Focusing until noon",
	"Back on Monday", "Ask my team for urgent matters", "Im Homeoffice – bitte per Chat", "移動中です",
}

// usualNote is the status message of every tenth user.
func usualNote(seed uint64, index int) string {
	d := draw(seed, "note", index)
	if d%10 != 0 {
		return ""
	}
	return usualNotes[d/10%uint64(len(usualNotes))]
}

// Presence is what is true of a user now. The error is people.ErrNoUser for
// unknown users.
func (t *Tenant) Presence(addressOrID string) (Presence, error) {
	index, ok := t.dir.Find(addressOrID)
	if !ok {
		return Presence{}, people.ErrNoUser
	}
	return t.presences.read([]int{index})[0], nil
}

// edit changes what is set of a user.
func (t *Tenant) edit(addressOrID string, edit func(*overlay, time.Time)) error {
	index, ok := t.dir.Find(addressOrID)
	if !ok {
		return people.ErrNoUser
	}
	t.presences.change(index, edit)
	return nil
}

// SetPresence sets a user's presence to any words. It takes the place of what
// the user's own client says, ends the sessions and the preferred presence
// that applications set, and keeps the workday away from the user until
// Release. The error is people.ErrNoUser for unknown users.
func (t *Tenant) SetPresence(addressOrID, availability, activity string) error {
	if strings.TrimSpace(availability) == "" || strings.TrimSpace(activity) == "" {
		return fmt.Errorf("setting a presence: availability and activity must not be empty")
	}
	return t.edit(addressOrID, pin(availability, activity))
}

func pin(availability, activity string) func(*overlay, time.Time) {
	return func(o *overlay, _ time.Time) {
		o.pinned, o.preferred = &words{availability, activity}, nil
		clear(o.sessions)
	}
}

// Release gives a user back to the workday; what applications and SetPresence
// and its like set is forgotten.
func (t *Tenant) Release(addressOrID string) error {
	return t.edit(addressOrID, release)
}

func release(o *overlay, _ time.Time) { *o = overlay{} }

// SetStatusMessage sets a user's note; an empty text removes it.
func (t *Tenant) SetStatusMessage(addressOrID, text string) error {
	return t.edit(addressOrID, func(o *overlay, now time.Time) { o.note = &note{text: text, published: now} })
}

// SetOutOfOffice sets a user's automatic reply.
func (t *Tenant) SetOutOfOffice(addressOrID string, on bool, message string) error {
	return t.edit(addressOrID, func(o *overlay, _ time.Time) { o.office = &outOfOffice{on, message} })
}

// SetWorkLocation sets where a user works; the zero WorkLocation removes it.
func (t *Tenant) SetWorkLocation(addressOrID string, where WorkLocation) error {
	return t.edit(addressOrID, func(o *overlay, _ time.Time) { o.location = &where })
}
