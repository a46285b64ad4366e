package ucwaapi

import (
	"bytes"
	"slices"

	"ucwagate/gateway/session"
	"ucwagate/ucwaapi/representation"
)

// applicationMark stands for the application's id in an event's encoding. It
// occurs in no JSON or XML that is made here: braces in hrefs are escaped, and
// braces of JSON are followed by a quote.
const applicationMark = "{application}"

// encodedEvent is one event in both forms, cut where the id of an application
// belongs. It is made once for all applications that the event goes to.
type encodedEvent struct{ json, xml [][]byte }

func encodedForm(e *session.Event) *encodedEvent {
	if kept := e.Encoded.Load(); kept != nil {
		if enc, ok := (*kept).(*encodedEvent); ok {
			return enc
		}
	}
	v := viewOf(e, links{id: applicationMark})
	mark := []byte(applicationMark)
	enc := &encodedEvent{json: bytes.Split(v.appendJSON(nil), mark), xml: bytes.Split(v.appendXML(nil), mark)}
	var kept any = enc
	e.Encoded.Store(&kept)
	return enc
}

// appendEvent appends one event as the application of l sees it.
func appendEvent(dst []byte, e *session.Event, l links, asXML bool) []byte {
	if e.Kind == session.CommunicationResource {
		// It is for one application only, and embeds an entity tag that its
		// hrefs are part of.
		v := viewOf(e, l)
		if asXML {
			return v.appendXML(dst)
		}
		return v.appendJSON(dst)
	}
	if asXML {
		return appendCut(dst, encodedForm(e).xml, l.id)
	}
	return appendCut(dst, encodedForm(e).json, l.id)
}

func appendCut(dst []byte, parts [][]byte, id string) []byte {
	for i, part := range parts {
		if i > 0 {
			dst = append(dst, id...)
		}
		dst = append(dst, part...)
	}
	return dst
}

// eventView is an event with its rels and hrefs.
type eventView struct {
	rel, href     string
	inRel, inHref string // empty: in nothing
	kind          string // added, updated, deleted
	embedded      *representation.Resource
}

// viewOf finds an event's rels and hrefs, those of an application.
func viewOf(e *session.Event, l links) eventView {
	v := eventView{kind: e.Type.String()}
	switch e.Kind {
	case session.ContactPresence:
		v.contactPart(l, e.Key, "contactPresence", "presence")
	case session.ContactNote:
		v.contactPart(l, e.Key, "contactNote", "note")
	case session.ContactLocation:
		v.contactPart(l, e.Key, "contactLocation", "location")
	case session.ContactSupportedModalities:
		v.contactPart(l, e.Key, "contactSupportedModalities", "supportedMedia")
	case session.PresenceSubscription:
		v.rel, v.href = "presenceSubscription", l.presenceSubscription(e.Key)
		if e.Type == session.Updated {
			v.embedded = presenceSubscriptionResource(l, e.Key, e.Group != "")
		}
	case session.Contact:
		v.rel, v.href = "contact", l.contact(e.Key)
	case session.Group:
		v.rel, v.href = e.GroupRel, l.group(e.Key)
	case session.ContactsAndGroupsSubscription:
		v.rel, v.href = "myContactsAndGroupsSubscription", l.contactsAndGroupsSubscription()
	case session.CommunicationResource:
		v.rel, v.href = "communication", l.communication()
		v.embedded = communicationResource(l, *e.Communication)
	case session.Me:
		v.rel, v.href = "me", l.me()
	case session.OwnPresence:
		v.rel, v.href = "presence", l.ownPresence()
	case session.OwnNote:
		v.rel, v.href = "note", l.ownNote()
	case session.OwnLocation:
		v.rel, v.href = "location", l.ownLocation()
	}
	switch e.In {
	case session.SubscribedContacts:
		v.inRel, v.inHref = "subscribedContacts", l.subscribedContacts()
	case session.MyContacts:
		v.inRel, v.inHref = "myContacts", l.myContacts()
	case session.InGroup:
		v.inRel, v.inHref = e.GroupRel, l.group(e.Group)
	case session.MyGroups:
		v.inRel, v.inHref = "myGroups", l.myGroups()
	}
	return v
}

func (v *eventView) contactPart(l links, address, rel, part string) {
	v.rel, v.href = rel, l.contactPart(address, part)
	v.inRel, v.inHref = "contact", l.contact(address)
}

func (v *eventView) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"link":{"rel":`...)
	dst = representation.AppendJSONString(dst, v.rel)
	dst = append(dst, `,"href":`...)
	dst = representation.AppendJSONString(dst, v.href)
	dst = append(dst, '}')
	if v.inRel != "" {
		dst = append(dst, `,"in":{"rel":`...)
		dst = representation.AppendJSONString(dst, v.inRel)
		dst = append(dst, `,"href":`...)
		dst = representation.AppendJSONString(dst, v.inHref)
		dst = append(dst, '}')
	}
	if v.embedded != nil {
		dst = append(dst, `,"_embedded":{`...)
		dst = representation.AppendJSONString(dst, v.rel)
		dst = append(dst, ':')
		dst = representation.AppendJSON(dst, v.embedded)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"type":`...)
	dst = representation.AppendJSONString(dst, v.kind)
	return append(dst, '}')
}

func (v *eventView) appendXML(dst []byte) []byte {
	dst = append(dst, '<')
	dst = append(dst, v.kind...)
	dst = representation.AppendXMLAttribute(dst, "rel", v.rel)
	dst = representation.AppendXMLAttribute(dst, "href", v.href)
	if v.inRel == "" && v.embedded == nil {
		return append(dst, `/>`...)
	}
	dst = append(dst, '>')
	if v.inRel != "" {
		dst = append(dst, `<in`...)
		dst = representation.AppendXMLAttribute(dst, "rel", v.inRel)
		dst = representation.AppendXMLAttribute(dst, "href", v.inHref)
		dst = append(dst, `/>`...)
	}
	if v.embedded != nil {
		dst = representation.AppendXMLPart(dst, v.embedded)
	}
	dst = append(dst, `</`...)
	dst = append(dst, v.kind...)
	return append(dst, '>')
}

// sender is a resource from which events come.
type sender struct {
	rel, href   string
	first, last session.Kind // of its events
}

// senders are all there are, in the order in which they stand in an answer. That
// of events of different senders does not matter, and a known client reads only
// the first block of each.
func senders(l links) [3]sender {
	return [3]sender{
		{"communication", l.communication(), session.CommunicationResource, session.CommunicationResource},
		{"me", l.me(), session.Me, session.OwnLocation},
		{"people", l.people(), session.ContactPresence, session.ContactsAndGroupsSubscription},
	}
}

func (s *sender) sent(e *session.Event) bool { return s.first <= e.Kind && e.Kind <= s.last }

func (s *sender) sends(events []*session.Event) bool { return slices.ContainsFunc(events, s.sent) }

// appendPackageJSON appends a whole answer of the event channel, one block for
// each sender; an answer without events has an empty list, over which clients
// iterate unguarded.
func appendPackageJSON(dst []byte, l links, p *session.Package, instance string, nextWithResync bool) []byte {
	dst = append(dst, `{"_links":{"self":{"href":`...)
	dst = representation.AppendJSONString(dst, l.events(p.Ack, instance))
	dst = append(dst, '}')
	for _, rel := range packageLinks(p, nextWithResync) {
		dst = append(dst, ',')
		dst = representation.AppendJSONString(dst, rel)
		dst = append(dst, `:{"href":`...)
		dst = representation.AppendJSONString(dst, l.events(p.NextAck, instance))
		dst = append(dst, '}')
	}
	dst = append(dst, `},"sender":[`...)
	first := true
	for _, from := range senders(l) {
		if !from.sends(p.Events) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, `{"rel":`...)
		dst = representation.AppendJSONString(dst, from.rel)
		dst = append(dst, `,"href":`...)
		dst = representation.AppendJSONString(dst, from.href)
		dst = append(dst, `,"events":[`...)
		before := len(dst)
		for _, e := range p.Events {
			if !from.sent(e) {
				continue
			}
			if len(dst) > before {
				dst = append(dst, ',')
			}
			dst = appendEvent(dst, e, l, false)
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, `]}`...)
}

// appendPackageXML appends the same as XML.
func appendPackageXML(dst []byte, l links, p *session.Package, instance string, nextWithResync bool) []byte {
	dst = append(dst, representation.XMLProlog+`<events`...)
	dst = representation.AppendXMLAttribute(dst, "href", l.events(p.Ack, instance))
	dst = representation.AppendXMLAttribute(dst, "xmlns", representation.Namespace)
	dst = append(dst, '>')
	for _, rel := range packageLinks(p, nextWithResync) {
		dst = append(dst, `<link`...)
		dst = representation.AppendXMLAttribute(dst, "rel", rel)
		dst = representation.AppendXMLAttribute(dst, "href", l.events(p.NextAck, instance))
		dst = append(dst, `/>`...)
	}
	for _, from := range senders(l) {
		if !from.sends(p.Events) {
			continue
		}
		dst = append(dst, `<sender`...)
		dst = representation.AppendXMLAttribute(dst, "rel", from.rel)
		dst = representation.AppendXMLAttribute(dst, "href", from.href)
		dst = append(dst, '>')
		for _, e := range p.Events {
			if from.sent(e) {
				dst = appendEvent(dst, e, l, true)
			}
		}
		dst = append(dst, `</sender>`...)
	}
	return append(dst, `</events>`...)
}
