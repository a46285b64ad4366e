package ucwaapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// operations is what OPTIONS tells about one path.
type operations struct {
	Metadata []operation `json:"metadata"`
}

type operation struct {
	HTTPMethod string               `json:"httpMethod"`
	Parameters []operationParameter `json:"parameters"`
}

// operationParameter is one input; SupportedValues is empty where there is no
// closed set.
type operationParameter struct {
	Name            string   `json:"name"`
	SupportedValues []string `json:"supportedValues"`
}

// registerOptions gives every path its OPTIONS, as the page of applications
// documents it. A preflight of a browser is answered before.
func (s *Server) registerOptions() error {
	byPath := make(map[string][]*Route)
	var paths []string
	for i := range routes {
		for _, p := range routes[i].whole() {
			p = strings.ToLower(p)
			if byPath[p] == nil {
				paths = append(paths, p)
			}
			byPath[p] = append(byPath[p], &routes[i])
		}
	}
	for _, p := range paths {
		body, err := json.Marshal(describeRoutes(byPath[p]))
		if err != nil {
			return err
		}
		allow := "OPTIONS"
		needs := anyone
		for _, r := range byPath[p] {
			allow += ", " + r.Method
			needs = max(needs, r.access)
		}
		s.echo.Add(http.MethodOptions, p, s.options(body, allow, needs))
	}
	return nil
}

func describeRoutes(list []*Route) operations {
	var o operations
	for _, r := range list {
		if r.Method == http.MethodHead {
			continue
		}
		one := operation{HTTPMethod: r.Method, Parameters: []operationParameter{}}
		for _, p := range r.Parameters {
			one.Parameters = append(one.Parameters, operationParameter{p.Name, append([]string{}, p.Values...)})
		}
		o.Metadata = append(o.Metadata, one)
	}
	slices.SortStableFunc(o.Metadata, func(a, b operation) int { return strings.Compare(a.HTTPMethod, b.HTTPMethod) })
	return o
}

func (s *Server) options(body []byte, allow string, needs access) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if needs >= signedIn {
			who, err := s.signIn.Authenticate(r)
			if err != nil {
				return s.refuse(c, err)
			}
			if err := s.admitUser(r.Context(), who.Address, 1); err != nil {
				return err
			}
		}
		h := c.Response().Header()
		s.header.common(h)
		h["Allow"] = []string{allow}
		h["Content-Type"] = []string{"application/json; charset=utf-8"}
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		s.deliver(c.Response(), r, http.StatusOK, body)
		return nil
	}
}
