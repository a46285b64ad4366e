package representation

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Errors of ParseInput. A malformed body is reported as *SyntaxError.
var (
	ErrUnsupportedMediaType = errors.New("unsupported media type")
	errShape                = errors.New("the body is not an object of properties")
)

// SyntaxError says that a body could not be decoded.
type SyntaxError struct {
	// Format is "JSON" or "XML".
	Format string
	Err    error
}

func (e *SyntaxError) Error() string { return e.Format + " body: " + e.Err.Error() }
func (e *SyntaxError) Unwrap() error { return e.Err }

// Input is what a client sent with a request: query parameters and the
// properties of the body under one roof. Names are matched without regard to
// case. Where both carry a parameter, the body wins. Nulls, links and embedded
// resources are ignored, because clients post whole fetched resources back.
type Input struct {
	query map[string][]string // lower-case name → raw values
	body  map[string]field    // lower-case name → value
}

type field struct {
	values []string
	// list and object tell what stood there in place of a single value: a list,
	// or something (also in a list) that is no value at all.
	list, object bool
}

// ParseInput decodes a raw query and a body. Without a body the content type
// does not matter. Errors are ErrUnsupportedMediaType and *SyntaxError.
func ParseInput(rawQuery, contentType string, body []byte) (*Input, error) {
	in := &Input{query: parseQuery(rawQuery)}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	isXML, ok := inputFormat(contentType)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnsupportedMediaType, contentType)
	}
	var err error
	if isXML {
		in.body, err = parseXML(body)
		if err != nil {
			return nil, &SyntaxError{Format: "XML", Err: describeXML(err)}
		}
		return in, nil
	}
	in.body, err = parseJSON(body)
	if err != nil {
		return nil, &SyntaxError{Format: "JSON", Err: err}
	}
	return in, nil
}

// String returns a parameter and whether it is there. A '+' in the query
// stays a '+': identifiers and addresses carry it raw.
func (in *Input) String(name string) (string, bool) {
	name = strings.ToLower(name)
	if f, ok := in.body[name]; ok && len(f.values) > 0 && !f.object {
		return f.values[0], true
	}
	if v, ok := in.query[name]; ok {
		return unescape(v[0], false), true
	}
	return "", false
}

// Text is String for free text, where a '+' in the query is a space.
func (in *Input) Text(name string) (string, bool) {
	name = strings.ToLower(name)
	if _, ok := in.body[name]; !ok {
		if v, ok := in.query[name]; ok {
			return unescape(v[0], true), true
		}
	}
	return in.String(name)
}

// Int returns a whole number. ok is false if the parameter is absent; err says
// that it is there and is not a whole number.
func (in *Input) Int(name string) (n int, ok bool, err error) {
	s, ok := in.String(name)
	if !ok {
		return 0, false, nil
	}
	n, err = strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0, true, fmt.Errorf("%q is not a whole number", s)
	}
	return n, true, nil
}

// List returns a list of strings; a single value counts as a list of one.
func (in *Input) List(name string) ([]string, bool) {
	name = strings.ToLower(name)
	if f, ok := in.body[name]; ok && (f.list || len(f.values) > 0) {
		return f.values, true
	}
	raw, ok := in.query[name]
	if !ok {
		return nil, false
	}
	values := make([]string, len(raw))
	for i, v := range raw {
		values[i] = unescape(v, false)
	}
	return values, true
}

// NotText returns those of the names whose value in the body is not a single
// value: a list or an object.
func (in *Input) NotText(names ...string) []string {
	return in.mistyped(func(f field) bool { return f.list || f.object }, names)
}

// NotList returns those of the names whose value in the body is an object, or a
// list of anything but values.
func (in *Input) NotList(names ...string) []string {
	return in.mistyped(func(f field) bool { return f.object }, names)
}

func (in *Input) mistyped(wrong func(field) bool, names []string) []string {
	var found []string
	for _, name := range names {
		if f, ok := in.body[strings.ToLower(name)]; ok && wrong(f) {
			found = append(found, name)
		}
	}
	return found
}

func parseQuery(raw string) map[string][]string {
	if raw == "" {
		return nil
	}
	m := make(map[string][]string)
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name = strings.ToLower(unescape(name, true)); name != "" {
			m[name] = append(m[name], value)
		}
	}
	return m
}

// unescape decodes percent escapes and leaves broken ones as they stand:
// clients put raw '@', '+', ';', '=' and '%' into queries. With plus set, '+'
// is a space, as in free text.
func unescape(s string, plus bool) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && plus:
			out = append(out, ' ')
		case c == '%' && i+2 < len(s):
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				out = append(out, c)
				continue
			}
			out = append(out, byte(n))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func parseJSON(body []byte) (map[string]field, error) {
	if !json.Valid(body) {
		// A documented sample carries a comma before the closing brace.
		if cleaned, changed := dropTrailingCommas(body); changed {
			body = cleaned
		}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, describeJSON(err)
	}
	if string(whole) == "null" {
		return nil, nil
	}
	// Member by member, so that of two names that differ in case only the
	// later one counts, whatever they are.
	d := json.NewDecoder(bytes.NewReader(whole))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errShape
	}
	fields := make(map[string]field)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, describeJSON(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, describeJSON(err)
		}
		if f, ok := jsonField(value); ok {
			fields[strings.ToLower(name.(string))] = f
		}
	}
	return fields, nil
}

// describeXML keeps the decoder's internals out of what a client gets to read.
func describeXML(err error) error {
	var syntax *xml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %s", syntax.Line, syntax.Msg)
	case errors.Is(err, io.EOF):
		return errors.New("there is no document element")
	case strings.HasPrefix(err.Error(), "xml: encoding"):
		return errors.New("the encoding is not supported; UTF-8 is")
	}
	return err
}

// describeJSON keeps Go's type names out of what a client gets to read.
func describeJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s (offset %d)", syntax.Error(), syntax.Offset)
	}
	return errShape
}

// jsonField turns a JSON value into a field; nulls are none.
func jsonField(value json.RawMessage) (field, bool) {
	if len(value) > 0 && value[0] == '[' {
		var items []json.RawMessage
		if json.Unmarshal(value, &items) != nil {
			return field{}, false
		}
		f := field{values: make([]string, 0, len(items)), list: true}
		for _, item := range items {
			if s, ok := jsonScalar(item); ok {
				f.values = append(f.values, s)
			} else if item[0] != 'n' {
				f.object = true
			}
		}
		return f, true
	}
	if len(value) > 0 && value[0] == '{' {
		return field{object: true}, true
	}
	s, ok := jsonScalar(value)
	return field{values: []string{s}}, ok
}

func jsonScalar(value json.RawMessage) (string, bool) {
	if len(value) == 0 {
		return "", false
	}
	switch value[0] {
	case '"':
		var s string
		if json.Unmarshal(value, &s) != nil {
			return "", false
		}
		return s, true
	case '{', '[', 'n':
		return "", false
	default: // a number or a boolean, kept as it was written
		return string(value), true
	}
}

// dropTrailingCommas removes commas that stand before a closing bracket
// outside of strings, and reports whether there were any.
func dropTrailingCommas(body []byte) ([]byte, bool) {
	out := make([]byte, 0, len(body))
	inString, escaped, changed := false, false, false
	for _, c := range body {
		if inString {
			out = append(out, c)
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inString = false
			}
			continue
		}
		if c == '"' {
			inString = true
		}
		if c == '}' || c == ']' {
			if trimmed := bytes.TrimRight(out, " \t\r\n"); len(trimmed) > 0 && trimmed[len(trimmed)-1] == ',' {
				out, changed = trimmed[:len(trimmed)-1], true
			}
		}
		out = append(out, c)
	}
	return out, changed
}

// parseXML decodes the <input> document of a POST or the <resource> document
// of a PUT. Nested resources and links are passed over.
func parseXML(body []byte) (map[string]field, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	root, err := firstElement(d)
	if err != nil {
		return nil, err
	}
	if name := root.Name.Local; name != "input" && name != "resource" {
		return nil, fmt.Errorf("the document element is <%s>; <input> or <resource> is expected", name)
	}
	fields := make(map[string]field)
	for {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if err := xmlChild(d, t, fields); err != nil {
				return nil, err
			}
		case xml.EndElement:
			return fields, trailing(d)
		}
	}
}

func firstElement(d *xml.Decoder) (xml.StartElement, error) {
	for {
		token, err := d.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		if start, ok := token.(xml.StartElement); ok {
			return start, nil
		}
	}
}

func trailing(d *xml.Decoder) error {
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := token.(xml.StartElement); ok {
			return errors.New("more than one document element")
		}
	}
}

func xmlChild(d *xml.Decoder, start xml.StartElement, fields map[string]field) error {
	name := ""
	for _, a := range start.Attr {
		if a.Name.Local == "name" {
			name = strings.ToLower(a.Value)
		}
	}
	switch {
	case start.Name.Local == "property" && name != "":
		var text string
		if err := d.DecodeElement(&text, &start); err != nil {
			return err
		}
		fields[name] = field{values: []string{text}}
		return nil
	case start.Name.Local == "propertyList" && name != "":
		var list struct {
			Items []string `xml:"item"`
		}
		if err := d.DecodeElement(&list, &start); err != nil {
			return err
		}
		fields[name] = field{values: list.Items, list: true}
		return nil
	default:
		return d.Skip()
	}
}
