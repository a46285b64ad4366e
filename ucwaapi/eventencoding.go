package ucwaapi

import (
	"bytes"

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
	v := viewOf(e)
	mark := []byte(applicationMark)
	enc := &encodedEvent{json: bytes.Split(v.appendJSON(nil), mark), xml: bytes.Split(v.appendXML(nil), mark)}
	var kept any = enc
	e.Encoded.Store(&kept)
	return enc
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

// viewOf finds an event's rels and hrefs. Its hrefs carry the mark in place of
// the application's id.
func viewOf(e *session.Event) eventView {
	l := links{id: applicationMark}
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

// appendPackageJSON appends a whole answer of the event channel. All events of
// presence work come from the sender people, in one block; an answer without
// events has an empty list, over which clients iterate unguarded.
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
	if len(p.Events) > 0 {
		dst = append(dst, `{"rel":"people","href":`...)
		dst = representation.AppendJSONString(dst, l.people())
		dst = append(dst, `,"events":[`...)
		for i, e := range p.Events {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCut(dst, encodedForm(e).json, l.id)
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
	if len(p.Events) > 0 {
		dst = append(dst, `<sender rel="people"`...)
		dst = representation.AppendXMLAttribute(dst, "href", l.people())
		dst = append(dst, '>')
		for _, e := range p.Events {
			dst = appendCut(dst, encodedForm(e).xml, l.id)
		}
		dst = append(dst, `</sender>`...)
	}
	return append(dst, `</events>`...)
}
