package batch

import (
	"strings"

	"github.com/google/uuid"
)

// mediaType is the only type the documentation of the batch resource names.
const mediaType = "multipart/batching"

// maxBoundary is the longest boundary accepted, in bytes. RFC 2046 §5.1.1 has
// 70 at most; more does no harm as long as there is an end to it.
const maxBoundary = 200

// NewBoundary draws a boundary for an answer: a random UUID, as in the
// documentation's examples. It has no "=" and no ";", at which a known client
// cuts the Content-Type.
func NewBoundary() string { return uuid.NewString() }

// Boundary returns the boundary that the Content-Type of a batch names: quoted
// or not, with or without spaces round it, names in any letter case. Other
// parameters are ignored; of several boundaries the first one counts. The
// characters that RFC 2046 does not allow in a boundary are tolerated, control
// characters are not. The errors are ErrNotBatch, ErrNoBoundary, ErrBadBoundary.
//
// The parser is not mime.ParseMediaType because that one refuses spaces before
// "=" and unquoted boundaries with characters such as "/" or ":".
func Boundary(contentType string) (string, error) {
	typ, params, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(typ), mediaType) {
		return "", ErrNotBatch
	}
	for params != "" {
		var name, value string
		name, value, params = parameter(params)
		if !strings.EqualFold(name, "boundary") {
			continue
		}
		// White space at the end would not survive in a delimiter line.
		value = strings.TrimRight(value, " \t")
		if value == "" {
			return "", ErrNoBoundary
		}
		if !usableBoundary(value) {
			return "", ErrBadBoundary
		}
		return value, nil
	}
	return "", ErrNoBoundary
}

// parameter cuts the first parameter off: `name = value; rest` or
// `name = "value"; rest`. A name without "=" has an empty value.
func parameter(s string) (name, value, rest string) {
	end := strings.IndexAny(s, "=;")
	if end < 0 {
		return strings.TrimSpace(s), "", ""
	}
	name, rest = strings.TrimSpace(s[:end]), s[end+1:]
	if s[end] == ';' {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest, " \t")
	if strings.HasPrefix(rest, `"`) {
		value, rest = quoted(rest[1:])
		_, rest, _ = strings.Cut(rest, ";")
		return name, value, rest
	}
	value, rest, _ = strings.Cut(rest, ";")
	return name, strings.TrimSpace(value), rest
}

// quoted reads a quoted string whose opening quote has been read. Without a
// closing quote it reaches to the end.
func quoted(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// usableBoundary says whether a delimiter line can be made of the boundary.
func usableBoundary(boundary string) bool {
	return boundary != "" && len(boundary) <= maxBoundary && !hasControl(boundary)
}

// hasControl says whether the text has an ASCII control character.
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0
}
