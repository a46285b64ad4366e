package ucwaapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
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

// checkOrigin refuses a request for a page of another domain that is not
// allowed. The frame names the page behind it in X-Ms-Origin; a browser that
// does without the frame sends Origin. Native clients send neither and are not
// checked. A page on the gateway's own host is no other domain.
func (s *Server) checkOrigin(r *http.Request) error {
	framed, direct := r.Header["X-Ms-Origin"], r.Header["Origin"]
	if framed == nil && direct == nil { // mostly; the gateway's own origin need not be found then
		return nil
	}
	own := s.origin.of(r)
	for _, o := range slices.Concat(framed, direct) {
		if !s.allowed[canonicalOrigin(o)] && !sameHost(o, own) {
			return errOriginNotAllowed
		}
	}
	return nil
}

// sameHost says whether a page's origin is the gateway itself. The scheme does
// not count: behind a proxy that is not trusted the gateway does not know it.
func sameHost(origin, own string) bool {
	_, own, _ = strings.Cut(own, "://")
	_, host, _ := strings.Cut(canonicalOrigin(origin), "://")
	return host != "" && host == own
}

// What a page of an allowed origin may send and read (Fetch standard, CORS).
const (
	corsMethods = "GET, POST, PUT, DELETE, OPTIONS, HEAD"
	corsExposed = "ETag, Location, WWW-Authenticate, X-Ms-diagnostics, X-MS-UcwaVersion, X-MS-Server-Fqdn, Retry-After"
	corsMaxAge  = "600" // seconds
)

// crossOrigin answers preflights and lets pages of allowed origins read the
// answers. To everybody else answers look as if there were no such thing.
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header["Origin"]
		if origin == nil {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h["Vary"] = []string{"Origin"}
		allowed := len(origin) == 1 && s.allowed[canonicalOrigin(origin[0])]
		if allowed {
			h["Access-Control-Allow-Origin"] = []string{origin[0]}
			h["Access-Control-Expose-Headers"] = []string{corsExposed}
		}
		if r.Method != http.MethodOptions || r.Header["Access-Control-Request-Method"] == nil {
			next.ServeHTTP(w, r)
			return
		}
		s.header.common(h)
		if allowed {
			h["Access-Control-Allow-Methods"] = []string{corsMethods}
			h["Access-Control-Max-Age"] = []string{corsMaxAge}
			h["Vary"] = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
			if asked := r.Header["Access-Control-Request-Headers"]; len(asked) == 1 && tokens(asked[0]) {
				// Clients send headers of their own making; none of them means
				// anything that a page could not say otherwise.
				h["Access-Control-Allow-Headers"] = []string{asked[0]}
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// tokens says whether s is a list of header names and nothing else.
func tokens(s string) bool {
	return len(s) <= 1024 && !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("-_, ", r)
	})
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
