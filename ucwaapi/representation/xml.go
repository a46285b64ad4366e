package representation

import (
	"encoding/xml"
	"strconv"
	"unicode/utf8"
)

// Namespace is the XML namespace of every UCWA document element.
const Namespace = "http://schemas.microsoft.com/rtc/2012/03/ucwa"

// XMLProlog stands before every XML document.
const XMLProlog = `<?xml version="1.0" encoding="utf-8"?>`

const (
	// xmlTime is ISO 8601 with seven digits of fraction, as the reference
	// pages print lastActive.
	xmlTime = "2006-01-02T15:04:05.0000000Z07:00"
)

// AppendXML appends the XML form of r as a document: links, then properties
// and lists, then embedded resources. The rel and href attributes are the self
// link; rel is repeated as a property, as the reference pages do.
func AppendXML(dst []byte, r *Resource) []byte {
	dst = append(dst, XMLProlog...)
	return appendXMLResource(dst, r, true)
}

// AppendXMLPart appends the XML form of r as part of another document.
func AppendXMLPart(dst []byte, r *Resource) []byte { return appendXMLResource(dst, r, false) }

func appendXMLResource(dst []byte, r *Resource, document bool) []byte {
	dst = append(dst, `<resource`...)
	dst = AppendXMLAttribute(dst, "rel", r.Rel)
	dst = AppendXMLAttribute(dst, "href", r.Href)
	if document {
		dst = AppendXMLAttribute(dst, "xmlns", Namespace)
	}
	dst = append(dst, '>')
	for i := range r.links {
		if l := &r.links[i]; l.href != "" {
			dst = append(dst, `<link`...)
			dst = AppendXMLAttribute(dst, "rel", l.rel)
			dst = AppendXMLAttribute(dst, "href", l.href)
			if l.revision != "" {
				dst = AppendXMLAttribute(dst, "revision", l.revision)
			}
			dst = append(dst, `/>`...)
		}
	}
	dst = appendXMLScalar(dst, "rel", r.Rel)
	for i := range r.properties {
		dst = appendXMLProperty(dst, &r.properties[i])
	}
	if r.etag != "" {
		dst = appendXMLScalar(dst, "etag", r.etag)
	}
	for i := range r.embedded {
		for _, child := range r.embedded[i].resources {
			dst = appendXMLResource(dst, child, false)
		}
	}
	return append(dst, `</resource>`...)
}

func appendXMLProperty(dst []byte, p *property) []byte {
	switch p.kind {
	case kindInt:
		return appendXMLScalar(dst, p.name, strconv.FormatInt(p.num, 10))
	case kindBool:
		if p.num != 0 {
			return appendXMLScalar(dst, p.name, "True")
		}
		return appendXMLScalar(dst, p.name, "False")
	case kindTime:
		return appendXMLScalar(dst, p.name, p.time.UTC().Format(xmlTime))
	case kindList:
		dst = append(dst, `<propertyList`...)
		dst = AppendXMLAttribute(dst, "name", p.name)
		dst = append(dst, '>')
		for _, s := range p.list {
			dst = appendXMLElement(dst, "item", s)
		}
		return append(dst, `</propertyList>`...)
	default:
		return appendXMLScalar(dst, p.name, p.text)
	}
}

func appendXMLScalar(dst []byte, name, value string) []byte {
	dst = append(dst, `<property`...)
	dst = AppendXMLAttribute(dst, "name", name)
	if value == "" {
		return append(dst, `/>`...)
	}
	dst = append(dst, '>')
	dst = appendXMLText(dst, value)
	return append(dst, `</property>`...)
}

func appendXMLElement(dst []byte, name, value string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	if value == "" {
		return append(dst, `/>`...)
	}
	dst = append(dst, '>')
	dst = appendXMLText(dst, value)
	dst = append(dst, `</`...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// AppendXMLAttribute appends a space and an attribute.
func AppendXMLAttribute(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	dst = appendXMLText(dst, value)
	return append(dst, '"')
}

// appendXMLText appends s escaped for text and attributes alike. Characters
// that XML 1.0 cannot carry become U+FFFD.
func appendXMLText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '&' || c == '<' || c == '>' || c == '"' || c == '\'' {
			w := appender(dst)
			if err := xml.EscapeText(&w, []byte(s)); err != nil { // an appender never fails
				return dst
			}
			return w
		}
	}
	return append(dst, s...)
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
