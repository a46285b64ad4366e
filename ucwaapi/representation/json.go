package representation

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the JSON form of r: properties, then _links, _embedded,
// rel and etag, in the order of the Skype server's own answers. The text is
// one line, because a known batch parser splits bodies at line ends.
func AppendJSON(dst []byte, r *Resource) []byte {
	dst = append(dst, '{')
	for i := range r.properties {
		dst = appendJSONProperty(dst, &r.properties[i])
		dst = append(dst, ',')
	}
	dst = append(dst, `"_links":`...)
	dst = appendJSONLinks(dst, r)
	if len(r.embedded) > 0 {
		dst = append(dst, `,"_embedded":{`...)
		for i := range r.embedded {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONEmbedded(dst, &r.embedded[i])
		}
		dst = append(dst, '}')
	}
	dst = append(dst, `,"rel":`...)
	dst = AppendJSONString(dst, r.Rel)
	if r.etag != "" {
		dst = append(dst, `,"etag":`...)
		dst = AppendJSONString(dst, r.etag)
	}
	return append(dst, '}')
}

func appendJSONProperty(dst []byte, p *property) []byte {
	dst = AppendJSONString(dst, p.name)
	dst = append(dst, ':')
	switch p.kind {
	case kindInt:
		return strconv.AppendInt(dst, p.num, 10)
	case kindBool:
		return strconv.AppendBool(dst, p.num != 0)
	case kindTime:
		// The slashes stay escaped in the raw text: JavaScript clients look
		// for them (seed: "\/Date(1358827096000)\/").
		dst = append(dst, `"\/Date(`...)
		dst = strconv.AppendInt(dst, p.time.UnixMilli(), 10)
		return append(dst, `)\/"`...)
	case kindList:
		dst = append(dst, '[')
		for i, s := range p.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONString(dst, s)
		}
		return append(dst, ']')
	default:
		return AppendJSONString(dst, p.text)
	}
}

func appendJSONLinks(dst []byte, r *Resource) []byte {
	dst = append(dst, `{"self":{"href":`...)
	dst = AppendJSONString(dst, r.Href)
	dst = append(dst, '}')
	for i := 0; i < len(r.links); {
		l := &r.links[i]
		dst = append(dst, ',')
		dst = AppendJSONString(dst, l.rel)
		dst = append(dst, ':')
		if !l.many {
			dst = appendJSONLink(dst, l)
			i++
			continue
		}
		dst = append(dst, '[')
		for first := true; i < len(r.links) && r.links[i].rel == l.rel; i++ {
			if r.links[i].href == "" {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = appendJSONLink(dst, &r.links[i])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendJSONLink(dst []byte, l *link) []byte {
	dst = append(dst, `{"href":`...)
	dst = AppendJSONString(dst, l.href)
	if l.revision != "" {
		dst = append(dst, `,"revision":`...)
		dst = AppendJSONString(dst, l.revision)
	}
	return append(dst, '}')
}

func appendJSONEmbedded(dst []byte, e *embedded) []byte {
	dst = AppendJSONString(dst, e.rel)
	dst = append(dst, ':')
	if !e.many {
		return AppendJSON(dst, e.resources[0])
	}
	dst = append(dst, '[')
	for i, child := range e.resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSON(dst, child)
	}
	return append(dst, ']')
}

// AppendJSONString appends s as a JSON string. Most strings of a resource are
// plain ASCII and are copied; the rest go through encoding/json, which also
// writes & < > as \u0026 and so on, like the Skype server.
func AppendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '&' || c == '<' || c == '>' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	dst = slices.Grow(dst, len(s)+2)
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
