package conform

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
)

// input is what a POST or PUT carries, in order.
type input []parameterValue

type parameterValue struct {
	name string
	// value is a string, an int or a []string.
	value any
}

// encoded writes input in the walk's representation. root is input for POST and
// resource for PUT.
func (w *walk) encoded(in input, root string) (body []byte, contentType string) {
	var b bytes.Buffer
	if w.format != XML {
		b.WriteByte('{')
		for i, p := range in {
			if i > 0 {
				b.WriteByte(',')
			}
			name, _ := json.Marshal(p.name)   // strings, numbers and
			value, _ := json.Marshal(p.value) // lists of strings: always possible
			b.Write(name)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return b.Bytes(), typeJSON
	}
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><` + root + ` xmlns="` + namespace + `">`)
	for _, p := range in {
		b.WriteString("<" + elementFor(p.value) + ` name="`)
		_ = xml.EscapeText(&b, []byte(p.name)) // a buffer takes everything
		b.WriteString(`">`)
		list, isList := p.value.([]string)
		if !isList {
			list = []string{scalarText(p.value)}
		}
		for _, item := range list {
			if isList {
				b.WriteString("<item>")
			}
			_ = xml.EscapeText(&b, []byte(item))
			if isList {
				b.WriteString("</item>")
			}
		}
		b.WriteString("</" + elementFor(p.value) + ">")
	}
	b.WriteString("</" + root + ">")
	return b.Bytes(), typeXML
}

func elementFor(value any) string {
	if _, isList := value.([]string); isList {
		return "propertyList"
	}
	return "property"
}

func scalarText(value any) string {
	if s, isText := value.(string); isText {
		return s
	}
	raw, _ := json.Marshal(value)
	return string(raw)
}

// post is a POST with input.
func (w *walk) post(href string, in input) request {
	q := request{method: http.MethodPost, href: href}
	if in != nil {
		q.body, q.contentType = w.encoded(in, "input")
	}
	return q
}
