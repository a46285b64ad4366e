package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ucwagate/graphsrc/graphsim/people"
)

// maxIDs is the documented size of a bulk read.
const maxIDs = 650

// presenceBytes is about what a presence takes in JSON, to reserve memory.
const presenceBytes = 400

// firstSequence is added to every sequence number, so that they look like the
// documented sample A0129311063 and have one length forever.
const firstSequence = 129311063

// getPresences serves POST /communications/getPresencesByUserId.
func (t *Tenant) getPresences(c *call) (reply, error) {
	if _, err := c.queryOptions(); err != nil {
		return reply{}, err
	}
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := c.readBody(&body); err != nil {
		return reply{}, err
	}
	c.ids = len(body.IDs)
	switch {
	case len(body.IDs) == 0:
		return reply{}, badRequest("The collection 'ids' must not be empty.")
	case len(body.IDs) > maxIDs:
		return reply{}, badRequest("The collection 'ids' has %d elements; at most %d are allowed.", len(body.IDs), maxIDs)
	}
	entries, err := t.bulkEntries(c, body.IDs)
	if err != nil {
		return reply{}, err
	}
	entries = t.bendList(entries)
	out := make([]byte, 0, 256+len(entries)*presenceBytes)
	out = append(out, `{"@odata.context":`...)
	out = appendString(out, c.base+"/$metadata#Collection(microsoft.graph.presence)")
	out = append(out, `,"value":[`...)
	faults := t.faults.get()
	for i, entry := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		if faults.Bulk.UpperCase {
			entry.ID = strings.ToUpper(entry.ID)
		}
		out = t.appendPresence(out, c, entry, faults, nil)
	}
	return jsonReply(append(out, "]}"...)), nil
}

// bulkEntries reads each id once, in the order asked for.
func (t *Tenant) bulkEntries(c *call, ids []string) ([]Presence, error) {
	seen := make(map[string]bool, len(ids))
	indexes := make([]int, 0, len(ids))
	var strangers []string
	for _, id := range ids {
		id = strings.ToLower(id)
		if !people.IsGUID(id) {
			return nil, badRequest("The id '%s' is not a GUID.", id)
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		if index, ok := t.dir.ByID(id); ok && t.shows(c, id) {
			indexes = append(indexes, index)
		} else {
			strangers = append(strangers, id)
		}
	}
	entries := t.presences.read(indexes)
	for _, id := range strangers {
		stranger, told, err := t.stranger(id)
		if err != nil {
			return nil, err
		}
		if told {
			entries = append(entries, stranger)
		}
	}
	return entries, nil
}

// shows reports whether the caller may read a user's presence: with
// Presence.Read a user sees only the own one.
func (t *Tenant) shows(c *call, id string) bool {
	return !c.delegated || c.may(readPresence) || strings.EqualFold(id, c.userID)
}

// stranger is what is said about an id that is no user's.
func (t *Tenant) stranger(id string) (p Presence, told bool, err error) {
	switch t.faults.get().UnknownUsers {
	case "presenceUnknown":
		w := states.word[unknown]
		return Presence{ID: id, Availability: w.availability, Activity: w.activity}, true, nil
	case "offline":
		w := states.word[offline]
		return Presence{ID: id, Availability: w.availability, Activity: w.activity}, true, nil
	case "error":
		return Presence{}, false, badRequest("The user '%s' does not exist in the tenant.", id)
	}
	return Presence{}, false, nil
}

// bendList applies the bulk faults to a list.
func (t *Tenant) bendList(entries []Presence) []Presence {
	bulk := t.faults.get().Bulk
	if bulk.Drop > 0 {
		entries = slices.DeleteFunc(entries, func(Presence) bool { return t.faults.chance(bulk.Drop) })
	}
	if bulk.Duplicate > 0 {
		for _, entry := range slices.Clone(entries) {
			if t.faults.chance(bulk.Duplicate) {
				entries = append(entries, entry)
			}
		}
	}
	if bulk.Extra {
		w := states.word[available]
		entries = append(entries, Presence{
			ID: people.GUID(t.cfg.Seed, "nobody"), Availability: w.availability, Activity: w.activity,
		})
	}
	if bulk.Permute {
		t.faults.shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	return entries
}

// one reads the presence a path names.
func (t *Tenant) one(c *call) (Presence, error) {
	if _, err := c.queryOptions(); err != nil {
		return Presence{}, err
	}
	id := strings.ToLower(c.args[0])
	if !people.IsGUID(id) {
		return Presence{}, badRequest("The id '%s' is not a GUID. Presence is read by the user's object id.", c.args[0])
	}
	if index, ok := t.dir.ByID(id); ok {
		return t.presences.read([]int{index})[0], nil
	}
	p, told, err := t.stranger(id)
	if err == nil && !told {
		err = &graphError{status: http.StatusNotFound, code: "NotFound", message: fmt.Sprintf("The user '%s' was not found.", id)}
	}
	return p, err
}

// getPresence serves GET /users/{id}/presence.
func (t *Tenant) getPresence(c *call) (reply, error) {
	p, err := t.one(c)
	if err != nil {
		return reply{}, err
	}
	head := object{{"@odata.context", c.base + "/$metadata#users('" + p.ID + "')/presence/$entity"}}
	return jsonReply(t.appendPresence(nil, c, p, t.faults.get(), head)), nil
}

// getPresenceWrapped serves GET /communications/presences/{id}, whose
// documented sample has the presence in a list of one.
func (t *Tenant) getPresenceWrapped(c *call) (reply, error) {
	p, err := t.one(c)
	if err != nil {
		return reply{}, err
	}
	out := t.appendPresence([]byte(`{"value":[`), c, p, t.faults.get(), nil)
	return jsonReply(append(out, "]}"...)), nil
}

// appendPresence writes a presence object behind the members of head, bent as
// the faults say.
func (t *Tenant) appendPresence(out []byte, c *call, p Presence, faults Faults, head object) []byte {
	bend := faults.Presence
	availability, activity := bendWords(bend, p.Availability, p.Activity)
	o := append(make(object, 0, 8), head...)
	o = append(o,
		member{"id", p.ID}, member{"availability", availability}, member{"activity", activity},
		member{"statusMessage", p.statusMessage(c)})
	if bend.Gov {
		return o.append(out)
	}
	var reason any
	if p.OutOfOfficeMessage != "" {
		reason = p.OutOfOfficeMessage
	}
	o = append(o,
		member{"outOfOfficeSettings", object{{"message", reason}, {"isOutOfOffice", p.OutOfOffice}}},
		member{"sequenceNumber", t.sequence(faults.Sequence, p.Sequence)},
		member{"workLocation", p.workLocation()})
	if bend.Nulls {
		for i, m := range o {
			if m.name != "id" && !strings.HasPrefix(m.name, "@") {
				o[i].value = nil
			}
		}
	}
	return o.append(out)
}

// statusMessage is null without a note. Its dates are told only to the user.
func (p Presence) statusMessage(c *call) any {
	if p.StatusMessage == "" {
		return nil
	}
	o := object{{"message", object{{"content", p.StatusMessage}, {"contentType", "text"}}}}
	if c.delegated && strings.EqualFold(c.userID, p.ID) {
		const layout = "2006-01-02T15:04:05.0000000"
		if !p.StatusPublished.IsZero() {
			o = append(o, member{"publishedDateTime", p.StatusPublished.UTC().Format(layout + "Z")})
		}
		if !p.StatusExpires.IsZero() {
			o = append(o, member{"expiryDateTime", object{
				{"dateTime", p.StatusExpires.UTC().Format(layout)}, {"timeZone", "UTC"},
			}})
		}
	}
	return o
}

func (p Presence) workLocation() any {
	if p.WorkLocation == (WorkLocation{}) {
		return nil
	}
	return object{
		{"workLocationType", p.WorkLocation.Type},
		{"source", p.WorkLocation.Source},
		{"placeId", orNull(p.WorkLocation.PlaceID)},
	}
}

// bendWords gives words as the fault wants them. Unknown words keep the
// beginning of a known one where a prefix may tell the class.
func bendWords(bend PresenceFault, availability, activity string) (string, string) {
	switch {
	case bend.UnknownWords:
		return availability + "Beyond", "InAHologram"
	case bend.CamelCase:
		return strings.ToLower(availability[:1]) + availability[1:], strings.ToLower(activity[:1]) + activity[1:]
	}
	return availability, activity
}

// sequence writes the number of a change.
func (t *Tenant) sequence(bend string, changed uint32) string {
	number := firstSequence + int(changed)
	switch bend {
	case "regress":
		number = max(0, firstSequence-t.faults.nextRead())
	case "equal":
		number = firstSequence
	case "longer":
		return fmt.Sprintf("A%014d", number)
	}
	return fmt.Sprintf("A%010d", number)
}
