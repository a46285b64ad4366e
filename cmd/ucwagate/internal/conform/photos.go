package conform

import (
	"bytes"
	"context"
	"net/http"
	"strings"
)

const (
	typeJPEG  = "image/jpeg"
	largest   = 100 << 10 // bytes of a photo
	mostFaces = 10        // people whose photos are looked for
)

var photoRules = []string{"photos.image", "photos.headers", "photos.not-modified", "photos.cookie", "photos.size", "photos.missing"}

// photos looks for somebody with a photo and for somebody without.
func (w *walk) photos(ctx context.Context) {
	hrefs := []string{w.app.embed("me").link("photo")}
	for _, c := range w.people(ctx) {
		hrefs = append(hrefs, c.link("contactPhoto"))
	}
	asked, shown := 0, false
	for _, href := range hrefs {
		if href == "" || asked == mostFaces {
			continue
		}
		asked++
		a := w.do(ctx, request{method: http.MethodGet, href: href, accept: typeJPEG})
		switch a.status {
		case http.StatusOK:
			if !shown {
				w.photo(ctx, a)
			}
			shown = true
		case http.StatusForbidden, http.StatusGatewayTimeout:
			w.reason(a, "photo")
		default:
			w.refused("photos.missing", "photo", a, http.StatusNotFound, "")
		}
	}
	if asked == 0 {
		w.skip("photo", "the link is not offered", photoRules...)
		return
	}
	w.skip("photo", "everybody has one", "photos.missing")
	if !shown {
		w.skip("photo", "nobody has one", photoRules[:5]...)
	}
}

// photo checks one photo and the ways to ask for it again.
func (w *walk) photo(ctx context.Context, a *answer) {
	w.check("photos.image", "photo", a.mediaType() == typeJPEG && bytes.HasPrefix(a.body, []byte("\xff\xd8\xff")) && len(a.body) <= largest,
		"%q of %d bytes beginning %x", a.headers.Get("Content-Type"), len(a.body), a.body[:min(3, len(a.body))])
	tag := a.headers.Get("ETag")
	w.check("photos.headers", "photo", tag != "" && a.headers.Get("Expires") != "" && strings.Contains(a.headers.Get("Cache-Control"), "private"),
		"ETag %q, Expires %q, Cache-Control %q", tag, a.headers.Get("Expires"), a.headers.Get("Cache-Control"))
	again := w.do(ctx, request{method: http.MethodGet, href: a.href, accept: typeJPEG, header: map[string]string{"If-None-Match": tag}})
	w.check("photos.not-modified", "photo", again.status == http.StatusNotModified, "%d", again.status)
	small := w.do(ctx, request{method: http.MethodGet, href: appended(a.href, "size", "HR64X64"), accept: "*/*"})
	w.check("photos.size", "photo", small.status == http.StatusOK && small.mediaType() == typeJPEG, "%d with Content-Type %q", small.status, small.headers.Get("Content-Type"))
	if w.cookie == "" {
		w.check("photos.cookie", "photo", false, "there is no cookie")
		return
	}
	byCookie := func(href string, header map[string]string) int {
		return w.send(ctx, request{method: http.MethodGet, href: href, accept: "*/*", anonymous: true, header: header}).status
	}
	cookie := map[string]string{"Cookie": w.cookie}
	w.check("photos.cookie", "photo", byCookie(a.href, cookie) == http.StatusOK, "the cookie does not show the photo")
	w.check("photos.cookie", "photo", byCookie(a.href, nil) == http.StatusUnauthorized, "the photo is shown to anybody")
	w.check("photos.cookie", "photo", byCookie(w.app.href, cookie) == http.StatusUnauthorized, "the cookie opens the application")
}
