package conform

import (
	"context"
	"net/http"
	"strings"
)

// errors sends what must be refused.
func (w *walk) errors(ctx context.Context) {
	send := func(in input) *answer { return w.send(ctx, w.post(w.applications, in)) }
	endpoint := unique("conform-")
	w.named("errors.missing", "applications", send(input{{"userAgent", userAgent}, {"endpointId", endpoint}}), "culture")
	w.named("errors.missing", "applications", send(input{{"userAgent", ""}, {"endpointId", endpoint}, {"culture", culture}}), "userAgent")
	nothing := w.send(ctx, request{method: http.MethodPost, href: w.applications})
	for _, name := range []string{"userAgent", "endpointId", "culture"} {
		w.named("errors.missing", "applications", nothing, name)
	}
	w.named("errors.too-long", "applications", send(input{{"userAgent", userAgent}, {"endpointId", strings.Repeat("x", 101)}, {"culture", culture}}), "endpointId")

	raw := func(contentType, body string) *answer {
		return w.send(ctx, request{method: http.MethodPost, href: w.applications, contentType: contentType, body: []byte(body)})
	}
	w.refused("errors.deserialization", "applications", raw(typeJSON, `{"userAgent":`), http.StatusBadRequest, "DeserializationFailure")
	w.refused("errors.deserialization", "applications", raw(typeXML, `<input><property`), http.StatusBadRequest, "DeserializationFailure")
	w.refused("errors.media-type", "applications", raw("text/plain", `{"userAgent":"x"}`), http.StatusUnsupportedMediaType, "UnsupportedMediaType")

	people := w.app.embed("people")
	if people != nil {
		a := w.send(ctx, request{method: http.MethodPut, href: people.href, contentType: typeJSON, body: []byte("{}")})
		w.refused("errors.method", "people", a, http.StatusMethodNotAllowed, "")
		w.check("errors.method", "people", strings.Contains(a.headers.Get("Allow"), http.MethodGet), "Allow is %q", a.headers.Get("Allow"))
	}
	// Without a token nothing is told but how to get one.
	w.challenged(w.send(ctx, request{method: http.MethodGet, href: w.app.href, anonymous: true}), "application without a token")
	w.challenged(w.send(ctx, request{method: http.MethodPost, href: w.applications, anonymous: true}), "applications without a token")
	w.challenged(w.send(ctx, request{method: http.MethodGet, href: w.app.href, header: map[string]string{"Authorization": "Bearer cwt=AAEBnot-a-token"}}), "application with a token that is none")
}

// versioning asks for revisions.
func (w *walk) versioning(ctx context.Context) {
	const header = "X-MS-RequiresMinResourceVersion"
	targets := []link{{rel: "application", href: w.app.href}}
	for _, rel := range []string{"me", "people", "communication"} {
		if n := w.app.embed(rel); n != nil {
			targets = append(targets, link{rel: rel, href: n.href})
		}
	}
	with := func(l link, version string) request {
		return request{
			method: http.MethodGet, href: l.href, header: map[string]string{header: version},
			subject: "GET " + l.rel + " with " + header + " " + version,
		}
	}
	for _, l := range targets {
		for _, version := range []string{"1", "2", "2.0"} {
			q := with(l, version)
			a := w.do(ctx, q)
			w.check("versioning.accepted", q.subject, a.status == http.StatusOK, "%v", a)
		}
		q := with(l, "3")
		w.refused("versioning.refused", q.subject, w.send(ctx, q), http.StatusNotFound, "APIVersionNotSupported")
	}
}
