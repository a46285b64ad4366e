package conform_test

import (
	"fmt"
	"net/http"
	"strings"

	"ucwagate/ucwaapi/representation"
)

// raise queues events.
func (a *modelApplication) raise(events ...modelEvent) {
	a.queue = append(a.queue, events...)
	close(a.arrived)
	a.arrived = make(chan struct{})
}

// events holds a P-GET until there is something, and is the state machine of
// the channel.
func (m *model) events(x *exchange, href string) {
	for _, timer := range []string{"low", "medium", "timeout", "priority"} {
		if _, _, err := x.in.Int(timer); err != nil {
			x.invalid(timer)
			return
		}
	}
	m.mu.Lock()
	a := m.apps[strings.TrimPrefix(href, applications+"/")]
	if a == nil {
		m.mu.Unlock()
		x.refuse(http.StatusNotFound, "NotFound", "ApplicationNotFound")
		return
	}
	ack, _, _ := x.in.Int("ack")
	priority, _, _ := x.in.Int("priority")
	if a.sent != nil && ack == a.sent.ack {
		defer m.mu.Unlock()
		a.pack(x, a.sent)
		return
	}
	if ack != a.next {
		defer m.mu.Unlock()
		a.resync(x, ack)
		return
	}
	a.sent = nil
	if a.parked != nil {
		if priority < a.parked.priority {
			m.mu.Unlock()
			x.refuse(http.StatusConflict, "Conflict", "PGetReplaced")
			return
		}
		close(a.parked.replaced)
	}
	me := &modelParked{priority, make(chan struct{})}
	a.parked = me
	for len(a.queue) == 0 {
		arrived := a.arrived
		m.mu.Unlock()
		select {
		case <-arrived:
		case <-me.replaced:
			x.refuse(http.StatusConflict, "Conflict", "PGetReplaced")
			return
		case <-x.r.Context().Done():
		case <-m.ends:
		}
		m.mu.Lock()
		if a.parked != me {
			m.mu.Unlock()
			x.refuse(http.StatusConflict, "Conflict", "PGetReplaced")
			return
		}
		if x.r.Context().Err() != nil {
			a.parked = nil
			m.mu.Unlock()
			return
		}
	}
	defer m.mu.Unlock()
	a.parked = nil
	a.sent = &modelPackage{a.next, a.queue}
	a.queue = nil
	a.next++
	a.pack(x, a.sent)
}

func (a *modelApplication) resync(x *exchange, ack int) {
	self, next := fmt.Sprintf("%s/events?ack=%d", a.href, ack), fmt.Sprintf("%s/events?ack=%d", a.href, a.position())
	if x.xml {
		x.raw(x.kind, fmt.Sprintf(`%s<events href="%s" xmlns="%s"><link rel="resync" href="%s"/></events>`, representation.XMLProlog, self, representation.Namespace, next))
		return
	}
	x.raw(x.kind, fmt.Sprintf(`{"_links":{"self":{"href":%q},"resync":{"href":%q}},"sender":[]}`, self, next))
}

// pack writes a package; the events of one sender follow one another.
func (a *modelApplication) pack(x *exchange, p *modelPackage) {
	self, next := fmt.Sprintf("%s/events?ack=%d", a.href, p.ack), fmt.Sprintf("%s/events?ack=%d", a.href, p.ack+1)
	var j, w strings.Builder
	sender := ""
	for i, e := range p.events {
		if e.sender != sender {
			if sender != "" {
				j.WriteString(`]},`)
				w.WriteString(`</sender>`)
			}
			href := a.href + "/" + e.sender
			fmt.Fprintf(&j, `{"rel":%q,"href":%q,"events":[`, e.sender, href)
			fmt.Fprintf(&w, `<sender rel="%s" href="%s">`, e.sender, href)
			sender = e.sender
		} else if i > 0 {
			j.WriteByte(',')
		}
		fmt.Fprintf(&j, `{"link":{"rel":%q,"href":%q}`, e.rel, e.href)
		fmt.Fprintf(&w, `<%s rel="%s" href="%s">`, e.kind, e.rel, e.href)
		if e.inRel != "" {
			fmt.Fprintf(&j, `,"in":{"rel":%q,"href":%q}`, e.inRel, e.inHref)
			fmt.Fprintf(&w, `<in rel="%s" href="%s"/>`, e.inRel, e.inHref)
		}
		if e.rel == "communication" {
			fmt.Fprintf(&j, `,"_embedded":{"communication":%s}`, representation.AppendJSON(nil, a.communication()))
			w.Write(representation.AppendXMLPart(nil, a.communication()))
		}
		fmt.Fprintf(&j, `,"type":%q}`, e.kind)
		fmt.Fprintf(&w, `</%s>`, e.kind)
	}
	if x.xml {
		x.raw(x.kind, fmt.Sprintf(`%s<events href="%s" xmlns="%s"><link rel="next" href="%s"/>%s</sender></events>`, representation.XMLProlog, self, representation.Namespace, next, w.String()))
		return
	}
	x.raw(x.kind, fmt.Sprintf(`{"_links":{"self":{"href":%q},"next":{"href":%q}},"sender":[%s]}]}`, self, next, j.String()))
}
