package conform

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	culture   = "en-US"
	userAgent = "ucwagate-conform"
)

func applicationInput(endpoint string, more ...parameterValue) input {
	return append(input{{"culture", culture}, {"endpointId", endpoint}, {"userAgent", userAgent}}, more...)
}

// create starts an application and remembers to end it.
func (w *walk) create(ctx context.Context, q request) (*node, *answer) {
	a := w.do(ctx, q)
	n := w.resource(a, "application", http.StatusCreated)
	if n != nil && !slices.Contains(w.tidy, n.href) {
		w.tidy = append(w.tidy, n.href)
	}
	return n, a
}

// fresh starts an application of its own for a section.
func (w *walk) fresh(ctx context.Context) *node {
	n, a := w.create(ctx, w.post(w.applications, applicationInput(unique("conform-"))))
	w.check("application.created", "application", n != nil, "%v", a)
	return n
}

// application creates the application of the walk and checks it.
func (w *walk) application(ctx context.Context) {
	endpoint := unique("conform-")
	n, a := w.create(ctx, w.post(w.applications, applicationInput(endpoint)))
	if !w.check("application.created", "application", n != nil, "%v", a) {
		return
	}
	w.app, w.appAnswer = n, a
	w.check("application.location", "application", a.headers.Get("Location") == n.href, "Location is %q, self %q", a.headers.Get("Location"), n.href)
	for _, rel := range []string{"me", "people", "onlineMeetings", "communication"} {
		w.check("application.embeds", "application", n.embed(rel) != nil, "there is no %s", rel)
	}
	w.check("application.id", "application", n.text("id") != "", "there is none")
	for _, p := range applicationInput(endpoint) {
		got := n.text(p.name)
		w.check("application.echo", "application", got == p.value || got == "" && p.name == "endpointId", "%s is %q", p.name, got)
	}
	w.check("application.make-me-available", "application", n.embed("me").link("makeMeAvailable") != "", "me has no such link")
	w.cookieOf(a, "POST on applications")
	if !w.wants(ClassApplication) {
		return
	}
	w.cookieOf(w.send(ctx, request{method: http.MethodGet, href: n.href}), "GET of application")
	w.sameEndpoint(ctx, endpoint)
	w.instances(ctx)
	w.listApplications(ctx)
	w.options(ctx)
}

// wants says whether rules of a class are to be reported.
func (w *walk) wants(c Class) bool {
	for _, r := range w.rules {
		if r.Class == c && w.wanted(r) {
			return true
		}
	}
	return false
}

// cookieOf checks the cookie for photos.
func (w *walk) cookieOf(a *answer, where string) {
	for _, c := range (&http.Response{Header: a.headers}).Cookies() {
		if c.Name != "cwt_ucwa" {
			continue
		}
		w.cookie = c.Name + "=" + c.Value
		kept := c.Value != "" && c.Path == w.app.href+"/photos" && c.HttpOnly
		if w.base.Scheme == "https" {
			kept = kept && c.Secure && c.SameSite == http.SameSiteNoneMode && c.Partitioned
		}
		w.check("application.cookie", where, kept, "path %q, HttpOnly %v, Secure %v, SameSite %d, Partitioned %v", c.Path, c.HttpOnly, c.Secure, c.SameSite, c.Partitioned)
		return
	}
	w.check("application.cookie", where, false, "there is no cookie")
}

func (w *walk) sameEndpoint(ctx context.Context, endpoint string) {
	n, a := w.create(ctx, w.post(w.applications, applicationInput(endpoint)))
	w.check("application.again", "application", n != nil && n.href == w.app.href, "%v", a)
}

// instances opens two channels of one application, as the tabs of a browser do.
func (w *walk) instances(ctx context.Context) {
	endpoint := unique("conform-tabs-")
	open := func(instance string) *answer {
		q := w.post(w.applications, applicationInput(endpoint, parameterValue{"instanceId", instance}, parameterValue{"type", "Browser"}))
		q.header = map[string]string{"X-MS-RequiresMinResourceVersion": "2"}
		a := w.do(ctx, q)
		n := w.resource(a, "application", a.status)
		if a.status != http.StatusCreated && a.status != http.StatusOK || n == nil {
			w.check("application.instances", "application", false, "%v", a)
			return a
		}
		w.tidy = append(w.tidy, n.href)
		id := "instanceId=" + url.QueryEscape(instance)
		w.check("application.instances", "application", strings.Contains(n.href, id) && strings.Contains(n.link("events"), id) && strings.Contains(n.link("events"), "ack="),
			"self is %s, events %s", n.href, n.link("events"))
		return a
	}
	one, two := unique("tab"), unique("tab")
	w.check("application.instances", "application", open(one).status == http.StatusCreated && open(two).status == http.StatusCreated, "a new instanceId is not answered 201")
	a := open(one)
	w.check("application.instances", "application", a.status == http.StatusOK, "a known instanceId is answered %d", a.status)
}

func (w *walk) listApplications(ctx context.Context) {
	a := w.do(ctx, request{method: http.MethodGet, href: w.applications, header: map[string]string{"X-MS-RequiresMinResourceVersion": "2"}})
	if !w.check("application.list", "applications", a.status == http.StatusOK, "%v", a) {
		return
	}
	n := w.parse(a, "applications")
	mine := slices.ContainsFunc(n.embeds("application"), func(e *node) bool { return e.href == w.app.href })
	w.check("application.list", "applications", mine, "%s is not among the %d applications", w.app.href, len(n.embeds("application")))
}

func (w *walk) options(ctx context.Context) {
	a := w.do(ctx, request{method: http.MethodOptions, href: w.applications, accept: typeJSON})
	if !w.check("application.options", "applications", a.status == http.StatusOK, "%v", a) {
		return
	}
	v, err := readJSON(a.body)
	if err != nil || v.member("metadata") == nil {
		w.check("application.options", "applications", false, "%v", a)
		return
	}
	named := false
	for _, m := range v.member("metadata").items {
		kept := m.text("httpMethod") != ""
		if p := m.member("parameters"); p != nil {
			for _, item := range p.items {
				kept = kept && item.text("name") != ""
			}
		}
		w.check("application.options", "applications", kept, "%s", excerpt(a.body))
		named = named || m.text("httpMethod") == http.MethodPost
	}
	w.check("application.options", "applications", named, "POST is not described: %s", excerpt(a.body))
}

// deletion ends the application of the walk and looks for what is left.
func (w *walk) deletion(ctx context.Context) {
	a := w.do(ctx, request{method: http.MethodDelete, href: w.app.href, accept: none})
	w.check("tolerance.delete-accept", "application", a.status == http.StatusNoContent, "%v", a)
	if !w.check("deletion.application", "application", a.status == http.StatusNoContent, "%v", a) {
		return
	}
	w.tidy = slices.DeleteFunc(w.tidy, func(href string) bool { return href == w.app.href })
	for _, l := range w.app.hrefs() {
		if operations[l.rel] {
			continue
		}
		a := w.send(ctx, request{method: http.MethodGet, href: l.href, subject: "GET below a deleted application"})
		w.refused("deletion.gone", l.rel, a, http.StatusNotFound, "ApplicationNotFound")
	}
}
