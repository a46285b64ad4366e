package graphsim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// append writes the object. Values are strings, *string, bools, ints, string
// lists, objects, lists of objects and nil.
func (o object) append(out []byte) []byte {
	out = append(out, '{')
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(out, m.name)
		out = append(out, ':')
		out = appendValue(out, m.value)
	}
	return append(out, '}')
}

func appendValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(out, v)
	case bool:
		return strconv.AppendBool(out, v)
	case int:
		return strconv.AppendInt(out, int64(v), 10)
	case float64:
		return strconv.AppendFloat(out, v, 'f', -1, 64)
	case object:
		return v.append(out)
	case []string:
		return appendList(out, v, appendString)
	case []object:
		return appendList(out, v, func(out []byte, o object) []byte { return o.append(out) })
	default:
		return append(out, "null"...)
	}
}

func appendList[T any](out []byte, items []T, one func([]byte, T) []byte) []byte {
	out = append(out, '[')
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = one(out, item)
	}
	return append(out, ']')
}

// appendString writes a JSON string. The usual ones need no escaping.
func appendString(out []byte, text string) []byte {
	if strings.ContainsFunc(text, escaped) || !utf8.ValidString(text) {
		quoted, _ := json.Marshal(text) // strings always marshal
		return append(out, quoted...)
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}

func escaped(r rune) bool { return r < ' ' || r == '"' || r == '\\' }

// orNull is text, or null if it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// pick keeps the selected members; a nil selection keeps all. Annotations
// stay.
func (o object) pick(selected []string) object {
	if selected == nil {
		return o
	}
	var kept object
	for _, m := range o {
		if strings.HasPrefix(m.name, "@") || slices.ContainsFunc(selected, func(s string) bool { return strings.EqualFold(s, m.name) }) {
			kept = append(kept, m)
		}
	}
	return kept
}

// has reports whether the object has a member of that name.
func (o object) has(name string) bool {
	return slices.ContainsFunc(o, func(m member) bool { return strings.EqualFold(m.name, name) })
}
