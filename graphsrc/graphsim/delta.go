package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ucwagate/graphsrc/graphsim/odata"
)

// deltaTokenLife is the documented life of tokens for directory objects.
const deltaTokenLife = 7 * 24 * time.Hour

// maxDeltaIDs is how many ids a delta query may be restricted to.
const maxDeltaIDs = 50

// deltaToken is the state of a round, baked into its links. The first round
// lists everyone; later ones list who changed after version Since. Both end
// at version Until, where the next round begins.
type deltaToken struct {
	Tenant   string    `json:"t"` // tokens of other tenants are not known
	Issued   time.Time `json:"i"`
	Select   string    `json:"s,omitempty"`
	IDs      []string  `json:"d,omitempty"`
	First    bool      `json:"f,omitempty"`
	Since    int       `json:"v"`
	Until    int       `json:"u"`
	Position int       `json:"p,omitempty"`
	// Blank says that the empty page before this one was sent.
	Blank bool `json:"b,omitempty"`
}

func (d deltaToken) String() string {
	raw, _ := json.Marshal(d) // strings, numbers and a time of our own always marshal
	return base64.RawURLEncoding.EncodeToString(raw)
}

// deltaUsers serves GET /users/delta.
func (t *Tenant) deltaUsers(c *call) (reply, error) {
	token, err := t.deltaState(c)
	if err != nil {
		return reply{}, err
	}
	selected := options{url.Values{"$select": {token.Select}}}.selected()
	if err := c.checkUserSelection(selected); err != nil {
		return reply{}, err
	}
	fault := t.faults.get().Delta
	page := listPage{context: c.base + "/$metadata#users"}
	if fault.EmptyPages && !token.Blank {
		token.Blank = true
		page.next = c.deltaLink("$skiptoken", token)
		return page.reply(), nil
	}
	token.Blank = false
	minimal := strings.Contains(strings.ToLower(c.r.Header.Get("Prefer")), "return=minimal")
	indexes, end := t.deltaIndexes(token)
	if fault.Replay && token.Position > 0 {
		before := token
		before.Position = max(0, token.Position-t.cfg.DeltaPage)
		if earlier, _ := t.deltaIndexes(before); len(earlier) > 0 {
			indexes = append([]int{earlier[len(earlier)-1]}, indexes...)
		}
	}
	for _, index := range indexes {
		switch present := t.dir.Present(index); {
		case !present && token.First:
		case !present:
			page.values = append(page.values, object{
				{"id", t.dir.Person(index).ID()}, {"@removed", object{{"reason", "changed"}}},
			})
		case minimal && !token.First:
			page.values = append(page.values, userObject(t.dir.Person(index), []string{"id", "displayName"}))
		default:
			o := userObject(t.dir.Person(index), selected)
			if !o.has("id") {
				o = append(o, member{"id", t.dir.Person(index).ID()})
			}
			page.values = append(page.values, o)
		}
	}
	if token.Position += t.cfg.DeltaPage; token.Position < end {
		page.next = c.deltaLink("$skiptoken", token)
	} else {
		token.First, token.Since, token.Position = false, token.Until, 0
		page.delta = c.deltaLink("$deltatoken", token)
	}
	return page.reply(), nil
}

// deltaIndexes lists the users of the page at a token's position, and how
// many entries the round has.
func (t *Tenant) deltaIndexes(token deltaToken) (page []int, end int) {
	var all []int
	switch {
	case token.First && token.IDs == nil:
		end = t.dir.Len()
		for index := token.Position; index < min(end, token.Position+t.cfg.DeltaPage); index++ {
			page = append(page, index)
		}
		return page, end
	case token.First:
		for _, id := range token.IDs {
			if index, ok := t.dir.ByID(id); ok {
				all = append(all, index)
			}
		}
	default:
		for _, index := range t.dir.ChangedBetween(token.Since, token.Until) {
			if token.wants(t.dir.Person(index).ID()) {
				all = append(all, index)
			}
		}
	}
	from := min(token.Position, len(all))
	return all[from:min(len(all), from+t.cfg.DeltaPage)], len(all)
}

func (d deltaToken) wants(id string) bool {
	for _, wanted := range d.IDs {
		if strings.EqualFold(wanted, id) {
			return true
		}
	}
	return d.IDs == nil
}

func (c *call) deltaLink(option string, token deltaToken) string {
	return c.base + "/users/delta?" + url.Values{option: {token.String()}}.Encode()
}

// deltaState reads the token of a link, or begins a round.
func (t *Tenant) deltaState(c *call) (deltaToken, error) {
	o, err := c.queryOptions("$select", "$filter", "$deltatoken", "$skiptoken")
	if err != nil {
		return deltaToken{}, err
	}
	latest := o.values.Get("$deltatoken")
	text := or(o.values.Get("$skiptoken"), latest)
	if text != "" && !strings.EqualFold(text, "latest") {
		return t.readDeltaToken(c, text, latest != "")
	}
	version := t.dir.Version()
	token := deltaToken{
		Tenant: t.cfg.TenantID, Issued: c.now.UTC(), First: true, Until: version, Since: version,
		Select: o.values.Get("$select"),
	}
	if filter := o.values.Get("$filter"); filter != "" {
		if token.IDs, err = deltaIDs(filter); err != nil {
			return deltaToken{}, err
		}
	}
	if text != "" {
		// From now on: an empty round.
		token.First = false
	}
	return token, nil
}

// readDeltaToken opens a token. A delta token begins a new round, which ends
// at the present version; a skip token continues one.
func (t *Tenant) readDeltaToken(c *call, text string, newRound bool) (deltaToken, error) {
	fault := t.faults.get().Delta
	var token deltaToken
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &token) != nil || token.Position < 0 || token.Since < 0 {
		return deltaToken{}, badRequest("Badly formed token.")
	}
	switch {
	case fault.Gone:
		return deltaToken{}, &graphError{
			status: http.StatusGone, code: "resyncRequired",
			message: "Resync required. Replace any local items with the server's version (including deletes) if you're sure that the service was up to date with your local changes when you last sync'd.",
			header:  map[string]string{"Location": c.base + "/users/delta"},
		}
	case fault.Expired, token.Tenant != t.cfg.TenantID, token.Until > t.dir.Version(), c.now.Sub(token.Issued) > deltaTokenLife:
		return deltaToken{}, &graphError{
			status: http.StatusBadRequest, code: "syncStateNotFound",
			message: "The sync state generation is not found; the token has expired.",
		}
	}
	if newRound {
		token.Until, token.Issued = t.dir.Version(), c.now.UTC()
	}
	return token, nil
}

// deltaIDs reads the only filter a delta query takes: ids joined by or.
func deltaIDs(text string) ([]string, error) {
	filter, err := odata.ParseFilter(text)
	if err != nil {
		return nil, badRequest("Invalid filter clause: %v.", err)
	}
	ids := []string{}
	for _, use := range filter.Uses() {
		if !strings.EqualFold(use.Property, "id") || use.Operator != "eq" || use.Negated {
			return nil, unsupportedQuery("A delta query can only be filtered by id.")
		}
		ids = append(ids, use.Values[0].Text)
	}
	if len(ids) > maxDeltaIDs {
		return nil, badRequest("A delta query can be filtered by at most %d ids.", maxDeltaIDs)
	}
	return ids, nil
}
