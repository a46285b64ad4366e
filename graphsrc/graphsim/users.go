package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/odata"
	"ucwagate/graphsrc/graphsim/people"
)

// Page sizes of directory lists.
const (
	defaultPage = 100
	largestPage = 999
)

// user finds the user a path names by object id or principal name; other
// addresses are not accepted there.
func (t *Tenant) user(name string) (int, error) {
	if index, ok := t.dir.ByID(name); ok {
		return index, nil
	}
	if index, ok := t.dir.ByPrincipalName(name); ok {
		return index, nil
	}
	return 0, resourceNotFound(name)
}

// getUser serves GET /users/{id}.
func (t *Tenant) getUser(c *call) (reply, error) {
	o, err := c.queryOptions("$select")
	if err != nil {
		return reply{}, err
	}
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	return c.oneUser(t.dir, index, o.selected(), "$metadata#users/$entity")
}

func (c *call) oneUser(dir *people.Directory, index int, selected []string, context string) (reply, error) {
	if err := c.checkSelection(selected); err != nil {
		return reply{}, err
	}
	head := object{{"@odata.context", c.base + "/" + context}}
	return jsonReply(append(head, userObject(dir.Person(index), selected)...).append(nil)), nil
}

// userQuery is what a list of users is asked for.
type userQuery struct {
	filter   *odata.Filter
	search   *odata.Search
	selected []string
	top      int
	from     int
	count    bool
	options  options
}

func (c *call) eventual() bool {
	return strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual")
}

// parseUserQuery reads and checks all query options of a list of users.
func (c *call) parseUserQuery() (q userQuery, err error) {
	if q.options, err = c.queryOptions("$select", "$top", "$filter", "$search", "$count", "$skiptoken"); err != nil {
		return q, err
	}
	q.selected = q.options.selected()
	if err = c.checkSelection(q.selected); err != nil {
		return q, err
	}
	if q.top, err = q.options.top(defaultPage, largestPage); err != nil {
		return q, err
	}
	if q.from, err = q.options.position(); err != nil {
		return q, err
	}
	counting := strings.EqualFold(q.options.values.Get("$count"), "true")
	// Without the header a bare $count is ignored.
	q.count = counting && c.eventual()
	if text := q.options.values.Get("$filter"); text != "" {
		if q.filter, err = parseFilter(text, q.count); err != nil {
			return q, err
		}
	}
	if text := q.options.values.Get("$search"); text != "" {
		q.search, err = c.parseSearch(text)
	}
	return q, err
}

func (c *call) parseSearch(text string) (*odata.Search, error) {
	if !c.eventual() {
		return nil, unsupportedQuery("Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
	}
	search, err := odata.ParseSearch(text)
	if err != nil {
		return nil, badRequest("Syntax error in $search: %v.", err)
	}
	for _, phrase := range search.Phrases() {
		if p, ok := userProperty(phrase.Property); !ok || !p.search {
			return nil, unsupportedQuery("$search is not supported for property '%s' of resource 'User'.", phrase.Property)
		}
	}
	return search, nil
}

// matches reports whether a user is to be listed.
func (q userQuery) matches(p people.Person) bool {
	get := userGetter(p)
	if q.filter != nil && !q.filter.Match(get) {
		return false
	}
	return q.search == nil || q.search.Match(get, func(name string) bool {
		property, _ := userProperty(name)
		return property.tokens
	})
}

// candidates lists the users a filter can match if it says so itself, which
// spares trying everyone.
func (t *Tenant) candidates(q userQuery) (indexes []int, ok bool) {
	if q.filter == nil {
		return nil, false
	}
	equalities, ok := q.filter.Candidates()
	if !ok {
		return nil, false
	}
	for _, e := range equalities {
		switch strings.ToLower(e.Property) {
		case "id", "userprincipalname", "mail", "imaddresses", "proxyaddresses", "othermails":
			indexes = append(indexes, t.dir.Candidates(e.Value)...)
		default:
			return nil, false
		}
	}
	slices.Sort(indexes)
	return slices.Compact(indexes), true
}

// matching yields the indexes of matching users from an index on.
func (t *Tenant) matching(q userQuery, from int, yield func(int) bool) {
	try := func(index int) bool {
		return !t.dir.Present(index) || !q.matches(t.dir.Person(index)) || yield(index)
	}
	if indexes, ok := t.candidates(q); ok {
		for _, index := range indexes {
			if index >= from && !try(index) {
				return
			}
		}
		return
	}
	for index := from; index < t.dir.Len(); index++ {
		if !try(index) {
			return
		}
	}
}

// listUsers serves GET /users.
func (t *Tenant) listUsers(c *call) (reply, error) {
	q, err := c.parseUserQuery()
	if err != nil {
		return reply{}, err
	}
	page := listPage{context: c.base + "/$metadata#users"}
	if q.selected != nil {
		page.context += "(" + strings.Join(q.selected, ",") + ")"
	}
	next := -1
	t.matching(q, q.from, func(index int) bool {
		if len(page.values) == q.top {
			next = index
			return false
		}
		page.values = append(page.values, userObject(t.dir.Person(index), q.selected))
		return true
	})
	if next >= 0 {
		page.next = c.nextLink(q.options, next)
	}
	if q.count {
		page.count = t.count(q)
	}
	return page.reply(), nil
}

func (t *Tenant) count(q userQuery) *int {
	n := 0
	t.matching(q, 0, func(int) bool { n++; return true })
	return &n
}

// countUsers serves GET /users/$count.
func (t *Tenant) countUsers(c *call) (reply, error) {
	if !c.eventual() {
		return reply{}, badRequest("$count is not currently supported without the header 'ConsistencyLevel: eventual'.")
	}
	o, err := c.queryOptions("$filter", "$search")
	if err != nil {
		return reply{}, err
	}
	q := userQuery{}
	if text := o.values.Get("$filter"); text != "" {
		if q.filter, err = parseFilter(text, true); err != nil {
			return reply{}, err
		}
	}
	if text := o.values.Get("$search"); text != "" {
		if q.search, err = c.parseSearch(text); err != nil {
			return reply{}, err
		}
	}
	return reply{
		status: http.StatusOK, contentType: "text/plain",
		body: strconv.AppendInt(nil, int64(*t.count(q)), 10),
	}, nil
}

// listPage is a page of a list.
type listPage struct {
	context string
	values  []object
	next    string
	delta   string
	count   *int
}

func (p listPage) reply() reply {
	o := object{{"@odata.context", p.context}}
	if p.count != nil {
		o = append(o, member{"@odata.count", *p.count})
	}
	if p.next != "" {
		o = append(o, member{"@odata.nextLink", p.next})
	}
	if p.delta != "" {
		o = append(o, member{"@odata.deltaLink", p.delta})
	}
	if p.values == nil {
		p.values = []object{}
	}
	return jsonReply(append(o, member{"value", p.values}).append(nil))
}

// top reads $top.
func (o options) top(usual, largest int) (int, error) {
	text := o.values.Get("$top")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > largest {
		return 0, badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", text, largest)
	}
	return n, nil
}

// pageToken is the content of $skiptoken: the position of the next entry.
type pageToken struct {
	Position int `json:"p"`
}

// nextLink repeats the path and the options of the request and adds the
// position.
func (c *call) nextLink(o options, position int) string {
	raw, _ := json.Marshal(pageToken{position}) // a struct of a number always marshals
	values := url.Values{}
	for name, given := range o.values {
		if strings.HasPrefix(name, "$") && name != "$skip" {
			values[name] = given
		}
	}
	values.Set("$skiptoken", base64.RawURLEncoding.EncodeToString(raw))
	return baseURL(c.r) + c.r.URL.EscapedPath() + "?" + values.Encode()
}

// position reads $skiptoken, or $skip where that is allowed.
func (o options) position() (int, error) {
	if text := o.values.Get("$skiptoken"); text != "" {
		var token pageToken
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(raw, &token) != nil || token.Position < 0 {
			return 0, badRequest("The $skiptoken is malformed.")
		}
		return token.Position, nil
	}
	if text := o.values.Get("$skip"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, badRequest("Invalid value '%s' for $skip query option found.", text)
		}
		return n, nil
	}
	return 0, nil
}
