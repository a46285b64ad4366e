package ucwaapi

import (
	"context"
	"net/http"
	"strings"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/signin"
)

// Exchange is what the server finds out about a request while it answers it, for
// whoever records requests from the outside: put into the context by
// WithExchange, it is filled in by the time ServeHTTP returns. A request whose
// context has none costs nothing. The parts of a batch fill in none.
type Exchange struct {
	// Principal is who sent it; without an address it is not known.
	Principal gateway.Principal
	// Application is the id of the user's application that it is for; empty:
	// none.
	Application string
	// Parts is how many requests a batch has.
	Parts int
	// OnRelease is called when the wait of a P-GET is over; nil is for nobody.
	OnRelease func()
}

type exchangeKey struct{}

// WithExchange returns a context whose request fills in x; nil: it fills in none.
func WithExchange(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeOf(r *http.Request) *Exchange {
	x, _ := r.Context().Value(exchangeKey{}).(*Exchange)
	return x
}

// eventsRel is the rel of the P-GET.
const eventsRel = "events"

// Template returns the path of the route table that r goes to, with names in
// place of what varies, whichever of a route's forms it has; empty: none. held
// says that it is a P-GET, which is held open. Method and path alone decide.
func (s *Server) Template(r *http.Request) (template string, held bool) {
	c := s.echo.AcquireContext()
	defer s.echo.ReleaseContext(c)
	c.SetPath("") // the router leaves what was there where it finds nothing
	s.echo.Router().Find(r.Method, canonicalPath(r.URL.Path), c)
	t := s.templates[c.Path()]
	return t.path, t.held && r.Method == http.MethodGet
}

type template struct {
	path string
	held bool
}

// templatesByPath finds the template for a path as the router knows it.
func templatesByPath() map[string]template {
	all := map[string]template{strings.ToLower(signin.TokenServicePath): {path: signin.TokenServicePath}}
	for i := range routes {
		r := &routes[i]
		paths := r.whole()
		for _, p := range paths {
			p = strings.ToLower(p)
			if _, taken := all[p]; !taken { // by another operation on the same resource
				all[p] = template{paths[0], r.Rel == eventsRel}
			}
		}
	}
	return all
}

// Templates returns all that Template returns.
func Templates() []string {
	var list []string
	seen := make(map[string]bool)
	for _, t := range templatesByPath() {
		if !seen[t.path] {
			seen[t.path] = true
			list = append(list, t.path)
		}
	}
	return list
}
