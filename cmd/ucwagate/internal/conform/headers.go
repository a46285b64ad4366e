package conform

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// headers asks for the same resources in many ways.
func (w *walk) headers(ctx context.Context) {
	targets := []link{{rel: "application", href: w.app.href}}
	if c := w.app.embed("communication"); c != nil {
		targets = append(targets, link{rel: "communication", href: c.href})
	}
	if people := w.people(ctx); len(people) > 0 {
		targets = append(targets, link{rel: "contact", href: people[0].href})
	}
	w.etags(ctx, w.appAnswer, "application")
	for _, l := range targets {
		a := w.do(ctx, request{method: http.MethodGet, href: l.href})
		w.etags(ctx, a, l.rel)
		w.gzip(ctx, l.rel, l.href)
	}
	if events := w.app.link("events"); ackOf(events) >= 0 {
		w.gzip(ctx, "events", withAck(events, "99999")) // out of order, so that nothing is held
	}
	for _, accept := range []string{vendorTypeJSON, vendorTypeXML, "application/vnd.microsoft.ucwa+xml"} {
		a := w.do(ctx, request{method: http.MethodGet, href: w.app.href, accept: accept})
		kept := a.mediaType() == accept || !strings.Contains(accept, ".com.") && a.isXML()
		w.check("headers.vendor-type", "GET application with Accept: "+accept, a.status == http.StatusOK && kept, "%d %q", a.status, a.headers.Get("Content-Type"))
	}
	for _, accept := range []string{"*/*", none, "text/plain"} {
		a := w.do(ctx, request{method: http.MethodGet, href: w.app.href, accept: accept})
		where := "GET application with Accept: " + accept
		if accept == none {
			where = "GET application without Accept"
		}
		w.check("headers.any-type", where, a.status == http.StatusOK && a.mediaType() == typeJSON, "%d %q", a.status, a.headers.Get("Content-Type"))
	}
}

// etags checks the entity tag of an answer, and asks with it.
func (w *walk) etags(ctx context.Context, a *answer, where string) {
	tag := a.headers.Get("ETag")
	bare := strings.Trim(tag, `"`)
	n := w.quietly(a)
	if !w.check("headers.etag", where, len(tag) > 2 && tag == `"`+bare+`"` && n.text("etag") == bare, "ETag is %q, etag %q", tag, n.text("etag")) || a.method != http.MethodGet {
		return
	}
	for _, form := range []string{tag, bare, "W/" + tag} {
		again := w.do(ctx, request{method: http.MethodGet, href: a.href, header: map[string]string{"If-None-Match": form}})
		w.check("headers.not-modified", where, again.status == http.StatusNotModified, "If-None-Match: %s is answered %d", form, again.status)
	}
	other := w.do(ctx, request{method: http.MethodGet, href: a.href, header: map[string]string{"If-None-Match": `"another"`}})
	w.check("headers.not-modified", where, other.status == http.StatusOK, "another ETag is answered %d", other.status)
}

// gzip asks for a resource compressed and plain.
func (w *walk) gzip(ctx context.Context, where, href string) {
	plain := w.do(ctx, request{method: http.MethodGet, href: href})
	packed := w.do(ctx, request{method: http.MethodGet, href: href, header: map[string]string{"Accept-Encoding": "gzip, deflate"}})
	w.check("headers.gzip", where,
		packed.headers.Get("Content-Encoding") == "gzip" && bytes.Equal(plain.body, packed.body) && packed.headers.Get("Content-Length") == strconv.Itoa(len(packed.raw)),
		"Content-Encoding %q, Content-Length %q of %d bytes, the same content: %v", packed.headers.Get("Content-Encoding"), packed.headers.Get("Content-Length"), len(packed.raw), bytes.Equal(plain.body, packed.body))
}
