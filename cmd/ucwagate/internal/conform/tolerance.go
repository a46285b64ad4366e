package conform

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// tolerance asks in the ways that real clients have.
func (w *walk) tolerance(ctx context.Context) {
	w.tolerantDiscovery(ctx)
	w.tolerantPaths(ctx)
	w.tolerantInput(ctx)
}

func (w *walk) tolerantDiscovery(ctx context.Context) {
	user, err := url.Parse(w.root.link("user"))
	if err != nil {
		return
	}
	for _, change := range []func(string) string{strings.ToLower, strings.ToUpper} {
		u := *user
		u.Path = change(u.Path)
		a := w.do(ctx, request{method: http.MethodGet, href: u.String()})
		w.check("tolerance.discovery-case", "user", a.status == http.StatusOK, "%v", a)
		if service, err := url.Parse(w.service); err == nil {
			service.Path = change(service.Path)
			a := w.send(ctx, request{method: http.MethodPost, href: service.String(), contentType: typeForm, body: []byte("grant_type=none"), anonymous: true})
			w.check("tolerance.discovery-case", "token service", a.status == http.StatusBadRequest, "%d", a.status)
		}
	}
	a := w.do(ctx, request{method: http.MethodGet, href: appended(w.root.href, "sipuri", w.ownURI()), anonymous: true})
	w.check("tolerance.discovery-query", "root", a.status == http.StatusOK && w.quietly(a).link("user") != "", "%v", a)
}

func (w *walk) tolerantPaths(ctx context.Context) {
	works := func(id, where, href, rel string) *node {
		a := w.do(ctx, request{method: http.MethodGet, href: href})
		n := w.quietly(a)
		w.check(id, where, a.status == http.StatusOK && n != nil && n.rel == rel, "%v", a)
		return n
	}
	works("tolerance.slashes", "application", "/"+w.app.href, "application")
	for _, rel := range []string{"me", "people"} {
		if n := w.app.embed(rel); n != nil {
			works("tolerance.slashes", rel, "/"+n.href, rel)
			works("tolerance.parameters", rel, n.href+"?nobody=knows&_=1", rel)
		}
	}
	people := w.people(ctx)
	if len(people) == 0 {
		w.skip("contact", "there is nobody in the contact list", "tolerance.contact-case")
		return
	}
	href := people[0].href
	i := strings.LastIndexByte(href, '/')
	n := works("tolerance.contact-case", "contact", href[:i]+strings.ToUpper(href[i:]), "contact")
	w.check("tolerance.contact-case", "contact", n != nil && n.href == href, "the self link is not %s", href)
}

// tolerantInput creates applications in odd ways. One endpoint is enough: the
// same one gets the same application.
func (w *walk) tolerantInput(ctx context.Context) {
	endpoint := unique("conform-tolerance-")
	create := func(id, where string, q request) {
		q.method = http.MethodPost
		if q.href == "" {
			q.href = w.applications
		}
		n, a := w.create(ctx, q)
		w.check(id, where, n != nil && n.text("userAgent") == userAgent && n.text("culture") == culture, "%v", a)
	}
	odd := input{{"UserAgent", userAgent}, {"ENDPOINTID", endpoint}, {"Culture", culture}}
	body, contentType := w.encoded(odd, "input")
	create("tolerance.names", "applications", request{body: body, contentType: contentType})
	query := url.Values{"UserAgent": {userAgent}, "endpointId": {endpoint}, "culture": {culture}}.Encode()
	create("tolerance.query", "applications", request{href: w.applications + "?" + query})
	for _, t := range []string{"", typeJSON, typeForm} {
		create("tolerance.no-type", "applications", request{href: w.applications + "?" + query, contentType: t})
	}
	body, contentType = w.encoded(applicationInput(endpoint), "input")
	vendor := strings.Replace(contentType, "application/", "application/vnd.microsoft.com.ucwa+", 1)
	for _, t := range []string{vendor, vendor + "; charset=utf-8", strings.Replace(vendor, ".com", "", 1), contentType + "; charset=utf-8", contentType + ";odata=verbose"} {
		create("tolerance.vendor-types", "applications", request{body: body, contentType: t})
	}
	if w.format == XML {
		more := applicationInput(endpoint, parameterValue{"rel", "application"}, parameterValue{"etag", "1"}, parameterValue{"nobody", "knows"}, parameterValue{"list", []string{"x"}})
		body, contentType = w.encoded(more, "input")
		create("tolerance.nulls", "applications", request{body: body, contentType: contentType})
		return
	}
	whole := `{"rel":"application","etag":"1","instanceId":null,"type":null,"nobody":{"knows":[null,1]},"_links":{"self":{"href":"/"}},"_embedded":{"me":null},` +
		`"userAgent":"` + userAgent + `","endpointId":"` + endpoint + `","culture":"` + culture + `"}`
	create("tolerance.nulls", "applications", request{body: []byte(whole), contentType: typeJSON})
}
