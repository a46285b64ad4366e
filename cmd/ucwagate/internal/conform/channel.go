package conform

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// event is an event of the channel.
type event struct {
	sender, kind, rel, href, inRel, inHref string
	embedded                               *node
	wrong                                  string // what is wrong with its form
}

// String is the event without its target, such as "contact added in
// subscribedContacts".
func (e event) String() string {
	s := e.rel + " " + e.kind
	if e.inRel != "" {
		s += " in " + e.inRel
	}
	return s
}

// pack is an answer of the event channel.
type pack struct {
	self, next, resync, resume string
	links                      []string // rels beside self
	senders                    []string
	events                     []event
	wrong                      string
}

// poll holds a P-GET until its answer, for as long as the patience is, and checks
// it. It returns nil if no package came.
func (w *walk) poll(ctx context.Context, href string) *pack {
	if href == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	a := w.send(ctx, request{method: http.MethodGet, href: href, held: true})
	return w.packOf(a)
}

// packOf checks an answer of the channel.
func (w *walk) packOf(a *answer) *pack {
	if a.status != http.StatusOK {
		return nil
	}
	w.inspectHeaders(a)
	p := &pack{}
	var err error
	if w.format == XML {
		err = p.readXML(a.body)
	} else {
		err = p.readJSON(a.body)
	}
	if err == nil && p.wrong != "" {
		err = fmt.Errorf("%s", p.wrong)
	}
	if !w.check("events.shape", "events", err == nil, "%s: %v: %s", a.href, err, excerpt(a.body)) {
		return nil
	}
	w.check("events.shape", "events", p.self != "" && p.next+p.resync+p.resume != "", "%s: self %q with the links %v", a.href, p.self, p.links)
	for _, l := range []link{{rel: "events", href: p.self}, {rel: "next", href: p.next}, {rel: "resync", href: p.resync}, {rel: "resume", href: p.resume}} {
		if l.href != "" {
			w.inspectHref("events", l.rel, l.href, false)
		}
	}
	w.inspectEvents(p)
	return p
}

func (w *walk) inspectEvents(p *pack) {
	unique := slices.Compact(slices.Sorted(slices.Values(p.senders)))
	w.check("events.one-block", "events", len(unique) == len(p.senders), "the senders are %v", p.senders)
	for _, e := range p.events {
		w.check("events.event", e.rel, e.wrong == "", "%s", e.wrong)
		w.check("events.event", e.rel, slices.Contains(eventTypes, e.kind), "the type is %q", e.kind)
		w.inspectHref("events", e.rel, e.href, false)
		if e.inHref != "" {
			w.inspectHref("events", e.inRel, e.inHref, false)
		}
		if strings.HasPrefix(e.rel, "contactP") || strings.HasPrefix(e.rel, "contactN") || strings.HasPrefix(e.rel, "contactL") {
			w.check("events.event", e.rel, e.inRel == "contact" && strings.HasPrefix(e.href, e.inHref+"/"), "it is %v of %s in %s", e, e.href, e.inHref)
		}
		if e.embedded != nil {
			w.faultless(e.embedded, nil)
			w.inspect(e.embedded)
		}
	}
}

// await polls until events have come, in their order, and returns all that came.
// A rule has failed if they do not come.
func (w *walk) await(ctx context.Context, id, where string, next *string, want ...string) []event {
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	var all []event
	var got []string
	for {
		missing := want
		for _, e := range got {
			if len(missing) > 0 && (e == missing[0] || strings.HasPrefix(e, missing[0]+" ")) {
				missing = missing[1:]
			}
		}
		if len(missing) == 0 {
			w.check(id, where, true, "")
			return all
		}
		p := w.poll(ctx, *next)
		if p == nil || p.next == "" {
			w.check(id, where, false, "there is no %q among %q", missing[0], got)
			return all
		}
		*next = p.next
		for _, e := range p.events {
			all = append(all, e)
			got = append(got, e.String()+" "+e.href)
		}
	}
}

func (p *pack) readJSON(body []byte) error {
	v, err := readJSON(body)
	if err != nil {
		return err
	}
	if name, null := v.anyNull(); null {
		return fmt.Errorf("%s is null", name)
	}
	links := v.member("_links")
	if links == nil {
		return fmt.Errorf("there are no _links")
	}
	for _, m := range links.members {
		p.link(m.name, m.value.text("href"))
	}
	senders := v.member("sender")
	if senders == nil || senders.delim != '[' {
		return fmt.Errorf("sender is no list")
	}
	for _, s := range senders.items {
		p.senders = append(p.senders, s.text("rel"))
		list := s.member("events")
		if list == nil || list.delim != '[' || s.text("href") == "" {
			return fmt.Errorf("a sender has no list of events, or no href")
		}
		for _, item := range list.items {
			p.events = append(p.events, jsonEvent(s.text("rel"), item))
		}
	}
	return nil
}

func jsonEvent(sender string, v *value) event {
	e := event{sender: sender, kind: v.text("type")}
	if l := v.member("link"); l != nil {
		e.rel, e.href = l.text("rel"), l.text("href")
	}
	if in := v.member("in"); in != nil {
		e.inRel, e.inHref = in.text("rel"), in.text("href")
		if e.inHref == "" {
			e.wrong = "in has no href"
		}
	}
	if embedded := v.member("_embedded"); embedded != nil {
		resource := embedded.member(e.rel)
		if resource == nil || len(embedded.members) != 1 {
			e.wrong = "_embedded has not just " + e.rel
		} else {
			e.embedded = jsonNode(resource)
		}
	}
	if e.href == "" {
		e.wrong = "there is no link"
	}
	return e
}

func (p *pack) readXML(body []byte) error {
	root, err := readXML(body)
	if err != nil {
		return err
	}
	if wrong := root.namespaceFault(true); wrong != "" {
		return fmt.Errorf("%s", wrong)
	}
	if root.name.Local != "events" {
		return fmt.Errorf("it is a <%s>", root.name.Local)
	}
	p.self = root.attr("href")
	for _, c := range root.children {
		switch c.name.Local {
		case "link":
			p.link(c.attr("rel"), c.attr("href"))
		case "sender":
			p.senders = append(p.senders, c.attr("rel"))
			for _, e := range c.children {
				p.events = append(p.events, xmlEvent(c.attr("rel"), e))
			}
		default:
			return fmt.Errorf("there is a <%s>", c.name.Local)
		}
	}
	return nil
}

func xmlEvent(sender string, x *element) event {
	e := event{sender: sender, kind: x.name.Local, rel: x.attr("rel"), href: x.attr("href")}
	if in := x.child("in"); in != nil {
		e.inRel, e.inHref = in.attr("rel"), in.attr("href")
	}
	if r := x.child("resource"); r != nil {
		e.embedded = xmlNode(r)
		if e.embedded.rel != e.rel {
			e.wrong = "the resource in it is a " + e.embedded.rel
		}
	}
	if e.href == "" || e.rel == "" {
		e.wrong = "there is no rel or no href"
	}
	return e
}

func (p *pack) link(rel, href string) {
	switch rel {
	case "self":
		p.self = href
		return
	case "next":
		p.next = href
	case "resync":
		p.resync = href
	case "resume":
		p.resume = href
	default:
		p.wrong = "there is a link " + rel
	}
	p.links = append(p.links, rel)
}
