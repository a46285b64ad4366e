package conform

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxRedirects bounds how often discovery may send the client on.
const maxRedirects = 3

// signIn goes from the start URL to the applications resource.
func (w *walk) signIn(ctx context.Context) {
	w.root = w.discovered(ctx, "root", w.URL)
	for range maxRedirects {
		next := w.root.link("redirect")
		if next == "" {
			break
		}
		w.root = w.discovered(ctx, "redirect", next)
	}
	user := w.root.link("user")
	if !w.check("discovery.links", "root", user != "", "there is no link user") {
		return
	}
	w.check("discovery.query", "root", strings.Contains(user, "?"), "%s", user)
	service := w.challenge(ctx, user)
	if w.token == "" && service != "" {
		w.service = service
		w.password(ctx)
	}
	if w.token == "" {
		w.skip("user", "there is no token", "discovery.user", "discovery.user-self", "discovery.xframe")
		return
	}
	a := w.do(ctx, request{method: http.MethodGet, href: user})
	if !w.check("discovery.user", "user", a.status == http.StatusOK, "%v", a) {
		return
	}
	me := w.discoveryBody(a, "user")
	w.applications = me.link("applications")
	if !w.check("discovery.user", "user", w.applications != "", "%v has no link applications", a) {
		return
	}
	w.user = me
	self, _, _ := strings.Cut(strings.ToLower(me.href), "?")
	w.check("discovery.user-self", "user", strings.HasSuffix(self, "/root/user"), "%s", me.href)
	w.check("discovery.xframe", "root", w.root.link("xframe") != "", "root links none")
	w.check("discovery.xframe", "user", me.link("xframe") != "" && (w.root.link("xframe") == "" || me.link("xframe") == w.root.link("xframe")),
		"root links %q, user %q", w.root.link("xframe"), me.link("xframe"))
	w.absolute(user, service)
}

// absolute checks the hrefs of discovery against one another.
func (w *walk) absolute(user, service string) {
	host := ""
	for _, l := range []link{
		{rel: "root", href: w.root.href},
		{rel: "user", href: user},
		{rel: "user self", href: w.user.href},
		{rel: "applications", href: w.applications},
		{rel: "token service", href: service},
		{rel: "xframe", href: w.user.link("xframe")},
	} {
		if l.href == "" {
			continue
		}
		u, err := url.Parse(l.href)
		if !w.check("discovery.absolute", l.rel, err == nil && u.Host != "" && u.Scheme == w.base.Scheme, "%s", l.href) {
			continue
		}
		w.check("discovery.no-port", l.rel, u.Scheme != "https" || u.Port() != "443", "%s", l.href)
		w.check("discovery.no-port", l.rel, u.Scheme != "http" || u.Port() != "80", "%s", l.href)
		if l.rel == "root" {
			continue
		}
		if host == "" {
			host = u.Host
		}
		w.check("discovery.one-host", l.rel, strings.EqualFold(u.Host, host), "%s is on another host than %s", l.href, host)
	}
}

// discovered reads a resource of discovery without the token; nil if there is
// none.
func (w *walk) discovered(ctx context.Context, rel, href string) *node {
	a := w.do(ctx, request{method: http.MethodGet, href: href, anonymous: true})
	if !w.check("discovery.root", rel, a.status == http.StatusOK, "%v", a) {
		return nil
	}
	return w.discoveryBody(a, rel)
}

func (w *walk) discoveryBody(a *answer, rel string) *node {
	h := a.headers
	w.check("discovery.headers", rel, strings.Contains(h.Get("Cache-Control"), "no-cache") && h.Get("Pragma") == "no-cache" && h.Get("Expires") == "-1" && h.Get("X-Content-Type-Options") == "nosniff",
		"Cache-Control %q, Pragma %q, Expires %q, X-Content-Type-Options %q", h.Get("Cache-Control"), h.Get("Pragma"), h.Get("Expires"), h.Get("X-Content-Type-Options"))
	w.check("headers.server-fqdn", rel, h.Get("X-MS-Server-Fqdn") != "", "there is none")
	w.check("discovery.content-type", rel, a.mediaType() == w.accept() && !strings.Contains(h.Get("Content-Type"), `"`), "%q", h.Get("Content-Type"))
	n := w.parse(a, rel)
	if n != nil {
		w.check("identity.rel", rel, n.rel == rel, "it is a %q", n.rel)
	}
	return n
}

var (
	tokenServiceLine = regexp.MustCompile(`^MsRtcOAuth href="(https?://[^"]+)",grant_type="([^"]+)"$`)
	parameter        = regexp.MustCompile(`([A-Za-z_]+)=("[^"]*"|[^",\s]+)`)
	anyTokenService  = regexp.MustCompile(`MsRtcOAuth .*?href="?([^",\s]+)`)
	diagnosticsLine  = regexp.MustCompile(`^X-Ms-diagnostics: [0-9]+;source="[^"]+";reason="[^"]+"$`)
)

// challenge asks for user without a token, checks the answer to the letter and
// returns the address of the token service.
func (w *walk) challenge(ctx context.Context, user string) string {
	a := w.do(ctx, request{method: http.MethodGet, href: user, anonymous: true})
	w.challenged(a, "user")
	w.check("challenge.html", "user", a.mediaType() == "text/html", "%q", a.headers.Get("Content-Type"))
	w.check("challenge.vary", "user", slices.ContainsFunc(a.headers.Values("Vary"), func(s string) bool { return strings.Contains(s, "Accept-Encoding") }), "Vary is %q", a.headers.Values("Vary"))
	h := w.send(ctx, request{method: http.MethodHead, href: user, anonymous: true})
	w.check("challenge.head", "user", h.status == http.StatusUnauthorized && len(h.headers.Values("WWW-Authenticate")) > 0, "%v", h)

	raw, err := w.head(ctx, user)
	if !w.check("headers.answer", anyRequest, err == nil, "GET %s: %v", user, err) {
		return ""
	}
	w.rawChallenge(raw)
	lines := a.headers.Values("WWW-Authenticate")
	w.parameters(lines)
	for _, line := range lines {
		if m := tokenServiceLine.FindStringSubmatch(line); m != nil {
			w.check("challenge.ms-rtc-oauth", "user", true, "")
			w.check("challenge.password", "user", slices.Contains(strings.Split(m[2], ","), "password"), "grant_type is %q", m[2])
			return m[1]
		}
	}
	w.check("challenge.ms-rtc-oauth", "user", false, "%q", lines)
	w.skip("user", "the line of MsRtcOAuth is not understood", "challenge.password")
	if m := anyTokenService.FindStringSubmatch(strings.Join(lines, ", ")); m != nil {
		return m[1] // not as it ought to be, but the walk goes on
	}
	return ""
}

// challenged checks that an answer is a challenge of two lines.
func (w *walk) challenged(a *answer, where string) {
	w.check("challenge.status", where, a.status == http.StatusUnauthorized, "%v", a)
	lines := a.headers.Values("WWW-Authenticate")
	var schemes []string
	for _, l := range lines {
		scheme, _, _ := strings.Cut(l, " ")
		schemes = append(schemes, scheme)
	}
	slices.Sort(schemes)
	w.check("challenge.lines", where, slices.Equal(schemes, []string{"Bearer", "MsRtcOAuth"}), "%q", lines)
}

// rawChallenge checks what only the bytes of the header show.
func (w *walk) rawChallenge(raw []string) {
	var urls, spelled []string
	diagnostics := ""
	for _, line := range raw {
		name, _, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(name, "WWW-Authenticate"):
			spelled = append(spelled, name)
		case strings.EqualFold(name, "X-Ms-diagnostics"):
			diagnostics = line
		}
		if strings.Contains(line, "://") {
			urls = append(urls, line)
		}
	}
	w.check("challenge.spelling", "user", len(spelled) > 0 && !slices.ContainsFunc(spelled, func(s string) bool { return s != "WWW-Authenticate" }), "%q", spelled)
	w.check("challenge.diagnostics", "user", diagnosticsLine.MatchString(diagnostics), "%q", diagnostics)
	if len(urls) > 0 {
		_, first, _ := strings.Cut(urls[0], ": ")
		w.check("challenge.first-url", "user", strings.HasPrefix(first, "MsRtcOAuth "), "%q", urls[0])
	}
}

// parameters checks the parameters of all challenges together: clients put
// them into one dictionary.
func (w *walk) parameters(lines []string) {
	count := make(map[string]int)
	for _, line := range lines {
		_, list, _ := strings.Cut(line, " ")
		found := parameter.FindAllStringSubmatch(list, -1)
		quoted := len(found) > 0
		for _, m := range found {
			quoted = quoted && strings.HasPrefix(m[2], `"`)
			if m[2] != `""` {
				count[m[1]]++
			} else {
				count[m[1]] += 100 // empty counts as wrong
			}
		}
		w.check("challenge.quoted", "user", quoted, "%q", line)
	}
	for _, name := range []string{"href", "grant_type", "client_id", "trusted_issuers", "authorization_uri"} {
		w.check("challenge.parameters", "user", count[name] == 1, "%s in %q", name, lines)
	}
}

// xframe reads the page that web applications load.
func (w *walk) xframe(ctx context.Context) {
	href := w.root.link("xframe")
	if href == "" {
		href = w.user.link("xframe")
	}
	if href == "" {
		w.check("xframe.page", "xframe", false, "there is no link to it")
		w.skip("xframe", "there is no link to it", "xframe.framable")
		return
	}
	a := w.do(ctx, request{method: http.MethodGet, href: href, anonymous: true, accept: "text/html"})
	w.check("xframe.page", "xframe", a.status == http.StatusOK && a.mediaType() == "text/html" && strings.Contains(strings.ToLower(string(a.body)), "<html"), "%v with Content-Type %q", a, a.headers.Get("Content-Type"))
	policy := a.headers.Get("Content-Security-Policy")
	_, ancestors, _ := strings.Cut(policy, "frame-ancestors")
	ancestors, _, _ = strings.Cut(ancestors, ";")
	ancestors = strings.TrimSpace(ancestors)
	w.check("xframe.framable", "xframe", a.headers.Get("X-Frame-Options") == "" && ancestors != "'none'" && ancestors != "'self'",
		"X-Frame-Options %q, Content-Security-Policy %q", a.headers.Get("X-Frame-Options"), policy)
}
