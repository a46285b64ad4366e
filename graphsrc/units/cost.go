package units

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Cost is what a request is charged.
type Cost struct {
	// Kind names the row of the table, for example "users".
	Kind string
	// Units is what the identity service charges; 0 if it is not asked.
	Units int
	// Mailbox is the user whose mailbox is asked, as the URL names it in lower
	// case; empty if none is.
	Mailbox string
}

// The services behind Graph's paths.
type service int

const (
	identity service = iota
	outlook
	neither // presence and others with limits of their own
)

// row is a kind of request. A "*" in its path is one segment; what follows the
// last segment may be anything.
type row struct {
	kind    string
	service service
	method  string // empty: any
	path    string
	units   int
	// exact: nothing may follow the path.
	exact bool
}

// table lists the kinds of requests, of which the first that fits counts;
// whatever fits none costs one unit. Identity rows are those of the published
// table that a program like this may send; /users/delta is charged like /users,
// because the table does not name it.
var table = []row{
	{kind: "presence", service: neither, path: "communications"},
	{kind: "presence", service: neither, path: "users/*/presence"},
	{kind: "presence", service: neither, path: "me/presence"},
	{kind: "photo", service: outlook, path: "users/*/photo"},
	{kind: "photo", service: outlook, path: "users/*/photos"},
	{kind: "contacts", service: outlook, path: "users/*/contacts"},
	{kind: "contacts", service: outlook, path: "users/*/contactFolders"},
	{kind: "people", service: outlook, path: "users/*/people"},
	{kind: "photo", service: outlook, path: "me/photo"},
	{kind: "photo", service: outlook, path: "me/photos"},
	{kind: "contacts", service: outlook, path: "me/contacts"},
	{kind: "contacts", service: outlook, path: "me/contactFolders"},
	{kind: "people", service: outlook, path: "me/people"},

	{kind: "users", method: http.MethodGet, path: "users", units: 2, exact: true},
	{kind: "users/delta", method: http.MethodGet, path: "users/delta", units: 2, exact: true},
	{kind: "group members", method: http.MethodGet, path: "groups/*/members", units: 3},
	{kind: "transitive group members", method: http.MethodGet, path: "groups/*/transitiveMembers", units: 5},
	{kind: "memberOf", method: http.MethodGet, path: "*/*/memberOf", units: 2},
	{kind: "memberOf", method: http.MethodGet, path: "*/*/transitiveMemberOf", units: 2},
	{kind: "memberOf", method: http.MethodGet, path: "me/memberOf", units: 2},
	{kind: "memberOf", method: http.MethodGet, path: "me/transitiveMemberOf", units: 2},
	{kind: "getByIds", method: http.MethodPost, path: "*/getByIds", units: 3, exact: true},
	{kind: "getMemberGroups", method: http.MethodPost, path: "*/*/getMemberGroups", units: 2, exact: true},
	{kind: "getMemberGroups", method: http.MethodPost, path: "*/*/getMemberObjects", units: 2, exact: true},
	{kind: "checkMemberGroups", method: http.MethodPost, path: "*/*/checkMemberGroups", units: 4, exact: true},
	{kind: "checkMemberGroups", method: http.MethodPost, path: "*/*/checkMemberObjects", units: 4, exact: true},
	{kind: "other", units: 1},
}

// CostOf returns what a request costs by the published table: the base of its
// kind, one less for $select, one more for $expand, one less for a $top below
// 20, and at least one unit. The version in front of the path, and roots of
// proxies before it, do not matter; neither do the case of the path and the
// form in which OData names a key or a function.
func CostOf(method string, u *url.URL) Cost {
	segments := pathOf(u)
	r := find(method, segments)
	c := Cost{Kind: r.kind}
	switch r.service {
	case outlook:
		c.Mailbox = segments[0]
		if c.Mailbox != "me" {
			c.Mailbox = segments[1]
		}
	case identity:
		c.Units = max(r.units+adjustment(u), 1)
	}
	return c
}

func find(method string, segments []string) *row {
	for i := range table {
		r := &table[i]
		if (r.method == "" || r.method == method) && r.fits(segments) {
			return r
		}
	}
	return &table[len(table)-1]
}

func (r *row) fits(segments []string) bool {
	if r.path == "" {
		return true
	}
	n := 0
	for want := range strings.SplitSeq(r.path, "/") {
		if n == len(segments) || want != "*" && !strings.EqualFold(want, segments[n]) {
			return false
		}
		n++
	}
	return !r.exact || n == len(segments)
}

func adjustment(u *url.URL) (units int) {
	if u.RawQuery == "" {
		return 0
	}
	query := u.Query() // what is malformed is left out of it
	if query.Get("$select") != "" {
		units--
	}
	if query.Get("$expand") != "" {
		units++
	}
	if top, err := strconv.Atoi(query.Get("$top")); err == nil && top < 20 {
		units--
	}
	return units
}

// pathOf cuts the path behind the version into segments, in lower case:
// users('a') is users/a, and delta() is delta. There is at least one.
func pathOf(u *url.URL) []string {
	var segments []string
	for escaped := range strings.SplitSeq(strings.Trim(u.EscapedPath(), "/"), "/") {
		segment, err := url.PathUnescape(escaped)
		if err != nil {
			segment = escaped
		}
		segment = strings.ToLower(segment)
		if segment == "v1.0" || segment == "beta" {
			segments = segments[:0]
			continue
		}
		name, key, called := strings.Cut(segment, "(")
		if key, ok := strings.CutSuffix(key, ")"); called && ok {
			segments = append(segments, name)
			if key != "" {
				segments = append(segments, strings.Trim(key, "'"))
			}
			continue
		}
		segments = append(segments, segment)
	}
	if len(segments) == 0 {
		segments = append(segments, "")
	}
	return segments
}
