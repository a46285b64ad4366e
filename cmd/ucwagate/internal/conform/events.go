package conform

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// brief bounds how long a P-GET waits that shall only show whether it is held.
const brief = 400 * time.Millisecond

var ackParameter = regexp.MustCompile(`([?&]ack=)([0-9]+)`)

// ackOf returns the number in a link of the channel, or -1.
func ackOf(href string) int {
	m := ackParameter.FindStringSubmatch(href)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[2])
	if err != nil {
		return -1
	}
	return n
}

// withAck replaces the number in a link of the channel.
func withAck(href, ack string) string {
	return ackParameter.ReplaceAllString(href, "${1}"+url.QueryEscape(ack))
}

// events follows the channel of an application of its own.
func (w *walk) events(ctx context.Context) {
	app := w.fresh(ctx)
	first := app.link("events")
	subscribe := app.embed("people").link("presenceSubscriptions")
	if !w.check("events.ack", "application", ackOf(first) >= 0, "events is %q", first) || subscribe == "" {
		return
	}
	uris := w.somebody(ctx)
	sub := w.subscribe(ctx, subscribe, input{{"duration", 10}, {"uris", uris}})
	if sub == nil {
		return
	}
	next := w.firstEvents(ctx, first, uris)
	if next == "" {
		return
	}
	w.outOfOrder(ctx, first, next)
	if w.wanted(w.rules["events.replaced"]) || w.wanted(w.rules["events.priority"]) {
		w.concurrent(ctx, next)
	}
	w.position(ctx, app, next)
	a := w.do(ctx, request{method: http.MethodDelete, href: sub.href})
	if a.status == http.StatusNoContent {
		// The server may not have noticed yet that those P-GETs have gone.
		next = appended(next, "priority", "3")
		gone := slices.Repeat([]string{"contact deleted in subscribedContacts"}, len(uris))
		w.await(ctx, "events.unsubscribed", "people", &next, append(gone, "presenceSubscription deleted")...)
	}
}

// firstEvents waits for what a new subscription yields and returns the link
// after the first package.
func (w *walk) firstEvents(ctx context.Context, first string, uris []string) string {
	p := w.poll(ctx, first)
	if p == nil || p.next == "" {
		w.check("events.subscribed", "people", false, "no package came from %s", first)
		return ""
	}
	w.check("events.ack", "events", ackOf(p.self) == ackOf(first) && ackOf(p.next) == ackOf(first)+1, "%s: self %s, next %s", first, p.self, p.next)
	added := slices.Repeat([]string{"contact added in subscribedContacts"}, len(uris))
	var got []string
	for _, e := range p.events {
		got = append(got, e.String())
		w.check("events.subscribed", "people", e.sender == "people", "%v is from %s", e, e.sender)
	}
	w.check("events.subscribed", "people", len(got) > len(uris) && slices.Equal(got[:len(uris)+1], append(added, "presenceSubscription added")), "%q", got)
	w.replay(ctx, first, p)

	// Presences may take a while to be known.
	next, all := p.next, p.events
	for _, uri := range uris {
		address := "/" + strings.ToLower(strings.TrimPrefix(uri, "sip:")) + "/"
		known := func(e event) bool {
			return e.rel == "contactPresence" && strings.Contains(strings.ToLower(e.href), address)
		}
		waited, cancel := context.WithTimeout(ctx, w.Patience)
		for !slices.ContainsFunc(all, known) {
			p := w.poll(waited, next)
			if p == nil || p.next == "" {
				break
			}
			next, all = p.next, append(all, p.events...)
		}
		cancel()
		i := slices.IndexFunc(all, known)
		id := "events.subscribed"
		if uri == w.ownURI() {
			id = "events.own-address"
		}
		if w.check(id, "contactPresence", i >= 0 && all[i].String() == "contactPresence updated in contact" && all[i].sender == "people", "there is none of %s among %v", uri, all) {
			w.get(ctx, "contactPresence", all[i].href)
		}
	}
	return next
}

// replay asks for the first package again.
func (w *walk) replay(ctx context.Context, first string, p *pack) {
	once := w.send(ctx, request{method: http.MethodGet, href: first})
	again := w.send(ctx, request{method: http.MethodGet, href: first})
	w.check("events.replay", "events", once.status == http.StatusOK && bytes.Equal(once.body, again.body), "%v, then %v", once, again)
	if o := w.packOf(once); o != nil {
		w.check("events.replay", "events", slices.EqualFunc(o.events, p.events, func(a, b event) bool { return a.String()+a.href == b.String()+b.href }), "%v, then %v", p.events, o.events)
	}
	// Timers last until they are changed: the last ones are the usual ones.
	for _, timers := range []string{"low=1", "medium=100000", "timeout=0", "priority=0", "low=15&medium=5&timeout=180"} {
		a := w.send(ctx, request{method: http.MethodGet, href: first + "&" + timers})
		w.check("events.timers", "events", a.status == http.StatusOK, "%v", a)
	}
	for _, name := range []string{"low", "medium", "timeout"} {
		w.named("events.timers", "events", w.send(ctx, request{method: http.MethodGet, href: appended(first, name, "soon")}), name)
	}
}

// outOfOrder asks for packages that cannot be.
func (w *walk) outOfOrder(ctx context.Context, first, next string) {
	for _, ack := range []string{"99999", "0", "x"} {
		a := w.send(ctx, request{method: http.MethodGet, href: withAck(first, ack)})
		p := w.packOf(a)
		if !w.check("events.resync", "events", p != nil, "%v", a) {
			continue
		}
		kept := slices.Equal(p.links, []string{"resync"}) && len(p.events) == 0 && (ackOf(p.resync) == ackOf(next) || ackOf(p.resync) == ackOf(next)-1)
		w.check("events.resync", "events", kept, "ack=%s, with %d to come: links %v, resync %s, %d events", ack, ackOf(next), p.links, p.resync, len(p.events))
	}
}

// position checks that the application says where the channel stands.
func (w *walk) position(ctx context.Context, app *node, next string) {
	n := w.quietly(w.send(ctx, request{method: http.MethodGet, href: app.href}))
	at := ackOf(n.link("events"))
	w.check("events.position", "application", at == ackOf(next) || at == ackOf(next)-1, "%s is next, application says %s", next, n.link("events"))
}

// concurrent holds a P-GET and sends others after it.
func (w *walk) concurrent(ctx context.Context, next string) {
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	if p := w.packOf(w.short(ctx, appended(next, "timeout", "0"))); p != nil {
		w.check("events.timers", "events", len(p.events) > 0, "timeout=0 is not clamped: the answer is empty and at once")
	}
	parked := make(chan *answer, 1)
	go func() {
		parked <- w.send(ctx, request{method: http.MethodGet, href: appended(next, "priority", "2"), held: true})
	}()
	lower := func() *answer {
		for {
			a := w.short(ctx, appended(next, "priority", "1"))
			if ctx.Err() != nil || !errors.Is(a.err, context.DeadlineExceeded) {
				return a
			}
		}
	}
	// The first one that is refused shows that the other one is held.
	a := lower()
	if a.status == http.StatusConflict {
		a = lower() // now certainly after it
	}
	w.refused("events.priority", "events", a, http.StatusConflict, "PGetReplaced")
	taken := make(chan *answer, 1)
	over, end := context.WithCancel(ctx)
	go func() {
		taken <- w.send(over, request{method: http.MethodGet, href: appended(next, "priority", "2"), held: true})
	}()
	select {
	case a = <-parked:
		w.refused("events.replaced", "events", a, http.StatusConflict, "PGetReplaced")
	case <-ctx.Done():
		w.check("events.replaced", "events", false, "the P-GET is still held after %v", w.Patience)
		<-parked
	}
	end()
	<-taken
}

// short is a P-GET that gives up soon; its status is 0 then.
func (w *walk) short(ctx context.Context, href string) *answer {
	ctx, cancel := context.WithTimeout(ctx, min(brief, w.Patience/20))
	defer cancel()
	return w.send(ctx, request{method: http.MethodGet, href: href, held: true})
}
