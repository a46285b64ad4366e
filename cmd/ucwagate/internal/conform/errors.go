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
	targets := []string{w.app.href}
	for _, rel := range []string{"me", "people", "communication"} {
		if n := w.app.embed(rel); n != nil {
			targets = append(targets, n.href)
		}
	}
	for _, href := range targets {
		for _, version := range []string{"1", "2", "2.0"} {
			a := w.do(ctx, request{method: http.MethodGet, href: href, header: map[string]string{header: version}})
			w.check("versioning.accepted", version, a.status == http.StatusOK, "%v", a)
		}
		a := w.send(ctx, request{method: http.MethodGet, href: href, header: map[string]string{header: "3"}})
		w.refused("versioning.refused", "3", a, http.StatusNotFound, "APIVersionNotSupported")
	}
}
