package ucwaapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"ucwagate/ucwaapi/signin"
)

// errOriginNotAllowed refuses a web page whose origin is not on the list.
var errOriginNotAllowed = errors.New("cross-domain requests from this origin are not allowed")

// diagnosticsOrigin is what X-Ms-diagnostics says then: the documentation
// names the reason and gives no number, so it is the general one of sign-in.
var diagnosticsOrigin = signin.Diagnostics{Code: 28020, Reason: "Cross-domain requests from this origin are not allowed."}

// allowedOrigins are the origins (scheme, host, port) of web pages that may
// use the gateway.
type allowedOrigins map[string]bool

func newAllowedOrigins(list []string) allowedOrigins {
	allowed := make(allowedOrigins, len(list))
	for _, o := range list {
		allowed[canonicalOrigin(o)] = true
	}
	return allowed
}

// check looks at X-Ms-Origin, in which the frame names the page behind it.
// Native clients send none and are not checked. A page on the gateway's own
// host is no other domain.
func (a allowedOrigins) check(header []string, own string) error {
	for _, o := range header {
		if c := canonicalOrigin(o); c != own && !a[c] {
			return errOriginNotAllowed
		}
	}
	return nil
}

// checkOrigin refuses a request for a page of another domain that is not allowed.
func (s *Server) checkOrigin(r *http.Request) error {
	page := r.Header["X-Ms-Origin"]
	if page == nil { // mostly; the gateway's own origin need not be found then
		return nil
	}
	return s.allowed.check(page, s.origin.of(r))
}

// canonicalOrigin writes an origin in one way: lower case, no default port, no
// path.
func canonicalOrigin(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	return u.Scheme + "://" + dropDefaultPort(u.Scheme, u.Host)
}
