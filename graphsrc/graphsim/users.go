package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/people"
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
	if err := c.checkUserSelection(selected); err != nil {
		return reply{}, err
	}
	head := object{{"@odata.context", c.base + "/" + context}}
	return jsonReply(append(head, userObject(dir.Person(index), selected)...).append(nil)), nil
}

// candidates lists the users a filter can match if it says so itself, which
// spares trying everyone.
func (t *Tenant) candidates(q listQuery) (indexes []int, ok bool) {
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
func (t *Tenant) matching(q listQuery, from int, yield func(int) bool) {
	try := func(index int) bool {
		return !t.dir.Present(index) || !q.matches(users.getter(t.dir.Person(index))) || yield(index)
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
	q, err := users.parse(c)
	if err != nil {
		return reply{}, err
	}
	if err := c.checkUserSelection(q.selected); err != nil {
		return reply{}, err
	}
	walk := func(from int, yield func(int) bool) { t.matching(q, from, yield) }
	return q.list(c, "users", walk, func(index int) object { return userObject(t.dir.Person(index), q.selected) }), nil
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
	q := listQuery{tokenized: users.tokenized}
	if text := o.values.Get("$filter"); text != "" {
		if q.filter, err = users.filter(text, true); err != nil {
			return reply{}, err
		}
	}
	if text := o.values.Get("$search"); text != "" {
		if q.search, err = users.search(c, text); err != nil {
			return reply{}, err
		}
	}
	n := 0
	t.matching(q, 0, func(int) bool { n++; return true })
	return reply{
		status: http.StatusOK, contentType: "text/plain",
		body: strconv.AppendInt(nil, int64(n), 10),
	}, nil
}
