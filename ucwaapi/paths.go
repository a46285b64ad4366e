package ucwaapi

import (
	"net/http"
	"net/url"
	"strings"
)

// lenientPaths lets the router see one spelling of every path: clients double
// the leading slash, change the letter case of discovery paths and of
// addresses, and append a slash. It never redirects, because some clients do
// not follow. Every identifier that the gateway puts into a path is lower case.
func lenientPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := canonicalPath(r.URL.Path); p != r.URL.Path || r.URL.RawPath != "" {
			r2 := *r
			r2.URL = new(url.URL)
			*r2.URL = *r.URL
			r2.URL.Path, r2.URL.RawPath = p, ""
			r = &r2
		}
		next.ServeHTTP(w, r)
	})
}

func canonicalPath(p string) string {
	clean := p != "" && p[0] == '/' && (len(p) == 1 || p[len(p)-1] != '/')
	for i := 0; clean && i < len(p); i++ {
		if c := p[i]; c >= 'A' && c <= 'Z' || c == '/' && i > 0 && p[i-1] == '/' {
			clean = false
		}
	}
	if clean {
		return p
	}
	var b strings.Builder
	b.Grow(len(p) + 1)
	for segment := range strings.SplitSeq(p, "/") {
		if segment != "" {
			b.WriteByte('/')
			b.WriteString(strings.ToLower(segment))
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}
