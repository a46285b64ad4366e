package conform

import (
	"context"
	"net/http"
	"strings"
)

// afterMakeMeAvailable are the links of me that makeMeAvailable brings.
var afterMakeMeAvailable = []string{"presence", "note", "location", "reportMyActivity"}

// me walks through makeMeAvailable with applications of its own.
func (w *walk) me(ctx context.Context) {
	app := w.fresh(ctx)
	me := app.embed("me")
	if me == nil {
		return
	}
	missing := me.missing(afterMakeMeAvailable...)
	w.check("me.before", "me", len(missing) == len(afterMakeMeAvailable), "%s lacks of %v only %v", me.href, afterMakeMeAvailable, missing)
	href := me.link("makeMeAvailable")
	if !w.check("me.before", "me", href != "", "%s does not link makeMeAvailable", me.href) {
		w.skip("me", "makeMeAvailable is not offered", "me.early", "me.make-available", "me.package", "me.communication", "me.after", "me.again", "me.modalities",
			"me.report-activity", "me.report-activity-path", "me.publish")
		return
	}
	etag := app.embed("communication").text("etag")
	a := w.do(ctx, w.post(href, input{{"supportedModalities", []string{"Messaging"}}}))
	w.check("me.make-available", "makeMeAvailable", a.status == http.StatusNoContent, "%v", a)
	next := w.mePackage(ctx, app)
	w.refused("me.again", "makeMeAvailable", w.send(ctx, w.post(href, nil)), http.StatusConflict, "AlreadyExists")

	app = w.get(ctx, "application", app.href)
	me = app.embed("me")
	if me == nil {
		return
	}
	missing = me.missing(afterMakeMeAvailable...)
	w.check("me.after", "me", len(missing) == 0 && me.link("makeMeAvailable") == "", "%s has no %s; makeMeAvailable is %q", me.href, strings.Join(missing, ", "), me.link("makeMeAvailable"))
	c := app.embed("communication")
	modalities := strings.Join(c.property("supportedModalities").values(), ",")
	w.check("me.modalities", "communication", modalities == "Messaging" && c.text("etag") != etag, "supportedModalities %q; etag was %q, is %q", modalities, etag, c.text("etag"))
	for _, rel := range afterMakeMeAvailable[:3] {
		if href := me.link(rel); href != "" {
			w.get(ctx, rel, href)
		}
	}
	w.reportActivity(ctx, app.href, me.link("reportMyActivity"))
	w.tooEarly(ctx, app, me)
	w.publish(ctx, me.link("note"), next)
}

// mePackage waits for what makeMeAvailable yields and returns where the channel
// goes on.
func (w *walk) mePackage(ctx context.Context, app *node) string {
	want := []string{"communication: communication updated", "me: me updated", "me: presence added", "me: note added", "me: location added"}
	p := w.poll(ctx, app.link("events"))
	if p == nil {
		w.check("me.package", "makeMeAvailable", false, "no package came")
		return ""
	}
	var got []string
	for _, e := range p.events {
		got = append(got, e.sender+": "+e.String())
		if e.rel == "communication" {
			w.check("me.communication", "communication", e.embedded != nil, "nothing is embedded")
		}
	}
	w.check("me.package", "makeMeAvailable", strings.Join(got, "; ") == strings.Join(want, "; "), "%q", got)
	return p.next
}

func (w *walk) reportActivity(ctx context.Context, app, href string) {
	if href == "" {
		w.skip("reportMyActivity", "the link is not offered", "me.report-activity", "me.report-activity-path")
		return
	}
	for _, contentType := range []string{"", typeJSON, typeForm} {
		a := w.do(ctx, request{method: http.MethodPost, href: href, contentType: contentType})
		w.check("me.report-activity", "reportMyActivity", a.status == http.StatusNoContent, "%v with Content-Type %q", a, contentType)
	}
	a := w.do(ctx, request{method: http.MethodPost, href: app + "/reportMyActivity"})
	w.check("me.report-activity-path", "reportMyActivity", a.status == http.StatusNoContent, "%v", a)
}

// tooEarly carries the links of an application over to one that has not called
// makeMeAvailable.
func (w *walk) tooEarly(ctx context.Context, app, me *node) {
	other := w.fresh(ctx)
	if other == nil {
		return
	}
	for _, rel := range afterMakeMeAvailable {
		href := me.link(rel)
		if href == "" || !strings.HasPrefix(href, app.href) {
			w.skip(rel, "the link is not offered", "me.early")
			continue
		}
		href = other.href + strings.TrimPrefix(href, app.href)
		methods := []string{http.MethodGet, http.MethodPost}
		if rel == "reportMyActivity" {
			methods = methods[1:]
		}
		for _, method := range methods {
			w.refused("me.early", rel, w.send(ctx, request{method: method, href: href}), http.StatusConflict, "MakeMeAvailableRequired")
		}
	}
}

// publish sets the note, waits for the event and restores what was there.
func (w *walk) publish(ctx context.Context, href, next string) {
	if !w.Publish {
		w.skip("note", "nothing is published without --publish", "me.publish")
		return
	}
	if href == "" || next == "" {
		w.skip("note", "the link is not offered", "me.publish")
		return
	}
	old := w.get(ctx, "note", href)
	if old == nil {
		return
	}
	if old.text("type") == "OutOfOffice" {
		// It hides the personal note, which could therefore not be restored.
		w.skip("note", "an out-of-office note is shown", "me.publish")
		return
	}
	defer w.restore(context.WithoutCancel(ctx), href, old.text("message"))
	message := unique("conform ")
	a := w.do(ctx, w.post(href, input{{"message", message}}))
	if !w.check("me.publish", "note", a.status == http.StatusNoContent, "%v", a) {
		return
	}
	w.await(ctx, "me.publish", "note", &next, "note updated")
	n := w.get(ctx, "note", href)
	w.check("me.publish", "note", n.text("message") == message, "it is %q", n.text("message"))
}

// restore puts the note back; without a message it is cleared.
func (w *walk) restore(ctx context.Context, href, message string) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	in := input{}
	if message != "" {
		in = input{{"message", message}}
	}
	a := w.send(ctx, w.post(href, in))
	w.check("me.publish", "note", a.status == http.StatusNoContent, "restoring it: %v", a)
}
