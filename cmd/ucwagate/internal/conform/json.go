package conform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// value is a JSON value that knows how it was written.
type value struct {
	delim   json.Delim // '{', '[' or 0
	scalar  any        // string, json.Number, bool or nil
	raw     string     // of a scalar, as written
	members []member   // of an object
	items   []*value   // of an array
}

type member struct {
	name  string
	value *value
}

func (v *value) isNull() bool { return v.delim == 0 && v.scalar == nil }

func (v *value) member(name string) *value {
	for _, m := range v.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// text returns a string member, or an empty text.
func (v *value) text(name string) string {
	if m := v.member(name); m != nil {
		s, _ := m.scalar.(string)
		return s
	}
	return ""
}

// anyNull finds a null and returns the name of its member.
func (v *value) anyNull() (string, bool) {
	for _, m := range v.members {
		if m.value.isNull() {
			return m.name, true
		}
		if name, ok := m.value.anyNull(); ok {
			return m.name + "." + name, true
		}
	}
	for _, item := range v.items {
		if item.isNull() {
			return "[]", true
		}
		if name, ok := item.anyNull(); ok {
			return name, true
		}
	}
	return "", false
}

// readJSON reads a body that is one object. Its order, its duplicates and the
// spelling of its scalars are kept or refused, never lost.
func readJSON(body []byte) (*value, error) {
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		return nil, errors.New("there is a byte order mark")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	r := &jsonReader{body: body, d: json.NewDecoder(bytes.NewReader(body))}
	r.d.UseNumber()
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	if v.delim != '{' {
		return nil, errors.New("it is not an object")
	}
	if _, err := r.d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return v, nil
}

type jsonReader struct {
	body []byte
	d    *json.Decoder
}

func (r *jsonReader) value() (*value, error) {
	from := r.d.InputOffset()
	t, err := r.d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return &value{scalar: t, raw: strings.Trim(string(r.body[from:r.d.InputOffset()]), " \t\r\n,:")}, nil
	}
	v := &value{delim: delim}
	seen := make(map[string]bool)
	for r.d.More() {
		name := ""
		if delim == '{' {
			key, err := r.d.Token()
			if err != nil {
				return nil, err
			}
			name, _ = key.(string)
			if seen[name] {
				return nil, fmt.Errorf("%q occurs twice in an object", name)
			}
			seen[name] = true
		}
		item, err := r.value()
		if err != nil {
			return nil, err
		}
		if delim == '{' {
			v.members = append(v.members, member{name, item})
		} else {
			v.items = append(v.items, item)
		}
	}
	_, err = r.d.Token() // the closing one
	return v, err
}

// jsonNode makes a resource of an object.
func jsonNode(v *value) *node {
	n := &node{arrays: make(map[string]bool)}
	if len(v.members) > 0 {
		n.first = v.members[0].name
	}
	if rel := v.member("rel"); rel != nil {
		if _, isText := rel.scalar.(string); !isText {
			n.fault("types.property", "rel is "+rel.raw)
		}
	}
	n.rel = v.text("rel")
	for _, m := range v.members {
		switch m.name {
		case "_links":
			n.readLinks(m.value)
		case "_embedded":
			n.readEmbedded(m.value)
		case "rel":
		default:
			n.properties = append(n.properties, jsonProperty(m.name, m.value))
		}
	}
	if n.href == "" {
		n.fault("identity.self", fmt.Sprintf("a resource %q has no link self", n.rel))
	}
	return n
}

func jsonProperty(name string, v *value) property {
	p := property{name: name, raw: v.raw, text: v.raw}
	switch s := v.scalar.(type) {
	case string:
		p.text = s
	case json.Number:
		p.kind = kindInteger
		if strings.ContainsAny(v.raw, ".eE") {
			p.kind = kindNumber
		}
	case bool:
		p.kind = kindBoolean
	default:
		p.kind = kindOther
	}
	if v.delim == '[' {
		p.kind, p.list = kindList, []string{}
		for _, item := range v.items {
			s, isText := item.scalar.(string)
			if !isText {
				p.kind = kindOther
			}
			p.list = append(p.list, s)
		}
	}
	return p
}

// links reads _links: an object keyed by rel, with a link or an array of them.
func (n *node) readLinks(v *value) {
	if v.delim != '{' {
		n.fault("json.syntax", "_links is no object")
		return
	}
	for _, m := range v.members {
		for _, l := range n.oneOrMany(m) {
			if m.name == "self" {
				n.href = l.text("href")
				continue
			}
			if l.delim != '{' || l.text("href") == "" {
				n.fault("types.link", fmt.Sprintf("the link %s of %s has no href", m.name, n.rel))
				continue
			}
			for _, attribute := range []string{"revision", "title"} {
				if a := l.member(attribute); a != nil {
					if _, isText := a.scalar.(string); !isText {
						n.fault("types.link", fmt.Sprintf("%s of the link %s is %s", attribute, m.name, a.raw))
					}
				}
			}
			n.links = append(n.links, link{rel: m.name, href: l.text("href"), revision: l.text("revision")})
		}
	}
}

func (n *node) readEmbedded(v *value) {
	if v.delim != '{' {
		n.fault("json.syntax", "_embedded is no object")
		return
	}
	for _, m := range v.members {
		for _, e := range n.oneOrMany(m) {
			if e.delim != '{' {
				n.fault("json.syntax", "an embedded "+m.name+" is no object")
				continue
			}
			n.embedded = append(n.embedded, child{m.name, jsonNode(e)})
		}
	}
}

// oneOrMany returns the values of a rel, and compares with what its definition
// says whether they are in an array.
func (n *node) oneOrMany(m member) []*value {
	array := m.value.delim == '['
	n.arrays[m.name] = array
	switch {
	case array && !multi(n.rel, m.name):
		n.fault("arrays.single", fmt.Sprintf("%s in %s is an array", m.name, n.rel))
	case !array && multi(n.rel, m.name):
		n.fault("arrays.multi", fmt.Sprintf("%s in %s is no array", m.name, n.rel))
	}
	if array {
		return m.value.items
	}
	return []*value{m.value}
}
