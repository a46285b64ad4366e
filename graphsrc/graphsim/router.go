package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is a method on a path of Graph.
type route struct {
	method string
	path   string // "{id}" stands for one segment
	// presence puts the route under the presence limit.
	presence bool
	// units is what a request costs of the identity service's resource units
	// before options of the query; 0 if it is not asked.
	units int
	// app and delegated list the permissions one of which a token must carry;
	// self lists delegated ones that suffice for the signed-in user's own path.
	app, delegated, self []string
	// delegatedOnly refuses app-only tokens in words of its own.
	delegatedOnly bool
	serve         func(*call) (reply, error)

	segments []string
}

func (r *route) name() string { return r.method + " " + r.path }

func (r *route) allows(c *call) bool {
	if !c.delegated {
		return c.may(r.app)
	}
	own := len(c.args) > 0 && strings.EqualFold(c.args[0], c.userID)
	return c.may(r.delegated) || own && c.may(r.self)
}

// routeToken is the name of the token endpoint for faults.
const routeToken = "POST /{tenant}/" + tokenPath

// router finds routes. Paths compare without regard to case, as in Graph.
type router struct{ routes []*route }

func newRouter(routes []*route) *router {
	for _, r := range routes {
		r.segments = strings.Split(strings.Trim(r.path, "/"), "/")
	}
	return &router{routes}
}

// names lists the routes in the order of the table, the endpoints for tokens last.
func (rt *router) names() []string {
	var names []string
	for _, r := range rt.routes {
		names = append(names, r.name())
	}
	return append(names, routeToken, routeDevice)
}

// find looks up the route of a call and fills in the call's variables.
func (rt *router) find(c *call) (*route, error) {
	segments, err := splitPath(c.r.URL)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(segments[0], "v1.0") {
		return nil, noSegment(segments[0])
	}
	segments = segments[1:]
	if len(segments) > 0 && strings.EqualFold(segments[0], "me") {
		if !c.delegated {
			return nil, badRequest("/me request is only valid with delegated authentication flow.")
		}
		segments = append([]string{"users", c.userID}, segments[1:]...)
	}
	var allowed []string
	for _, r := range rt.routes {
		args, ok := r.matches(segments)
		if !ok {
			continue
		}
		if r.method == c.r.Method {
			c.args = args
			return r, nil
		}
		allowed = append(allowed, r.method)
	}
	if allowed != nil {
		slices.Sort(allowed)
		return nil, &graphError{
			status: http.StatusMethodNotAllowed, code: "Request_BadRequest",
			message: "Specified HTTP method is not allowed for the request target.",
			header:  map[string]string{"Allow": strings.Join(slices.Compact(allowed), ", ")},
		}
	}
	if len(segments) == 0 {
		return nil, noSegment("v1.0")
	}
	return nil, noSegment(segments[len(segments)-1])
}

func noSegment(name string) error {
	return &graphError{
		status: http.StatusNotFound, code: "ResourceNotFound",
		message: fmt.Sprintf("Resource not found for the segment '%s'.", name),
	}
}

func (r *route) matches(segments []string) ([]string, bool) {
	if len(segments) != len(r.segments) {
		return nil, false
	}
	var args []string
	for i, want := range r.segments {
		switch {
		case strings.HasPrefix(want, "{"):
			args = append(args, segments[i])
		case !strings.EqualFold(want, segments[i]):
			return nil, false
		}
	}
	return args, true
}

// splitPath cuts a path into unescaped segments. The forms OData has for one
// thing become one: users('x') is users/x, delta() is delta, and the alias
// graph.user is microsoft.graph.user.
func splitPath(u *url.URL) ([]string, error) {
	var segments []string
	for escaped := range strings.SplitSeq(strings.Trim(u.EscapedPath(), "/"), "/") {
		segment, err := url.PathUnescape(escaped)
		if err != nil {
			return nil, badRequest("The path is malformed.")
		}
		name, key, hasKey := strings.Cut(segment, "(")
		switch {
		case !hasKey || !strings.HasSuffix(key, ")"):
			segments = append(segments, segment)
		case key == ")":
			segments = append(segments, name)
		default:
			key = strings.TrimSuffix(key, ")")
			if unquoted, ok := strings.CutPrefix(key, "'"); ok {
				key = strings.ReplaceAll(strings.TrimSuffix(unquoted, "'"), "''", "'")
			}
			segments = append(segments, name, key)
		}
		if last := &segments[len(segments)-1]; strings.HasPrefix(strings.ToLower(*last), "graph.") {
			*last = "microsoft." + *last
		}
	}
	return segments, nil
}
