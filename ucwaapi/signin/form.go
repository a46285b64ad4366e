package signin

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

const (
	// maxTokenBody is the longest body the token service reads, in bytes.
	maxTokenBody = 16 << 10
	// maxTokenFields is the most fields it looks at.
	maxTokenFields = 64
)

// tokenForm has the fields of a request to the token service by their names in
// lower case.
type tokenForm map[string]string

// readForm reads the body of a request. It takes what the clients in use send:
// form fields under a form type with an odd charset, under text/plain or no
// type at all, escaped or not, and multipart/form-data.
func readForm(w http.ResponseWriter, r *http.Request) (tokenForm, *tokenFailure) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenBody))
	if err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			failure := badRequest("The body is longer than 16 KiB.")
			failure.status = http.StatusRequestEntityTooLarge
			return nil, failure
		}
		return nil, badRequest("The body could not be read.")
	}
	contentType := r.Header.Get("Content-Type")
	mediaType, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "multipart/form-data":
		return parseMultipart(contentType, body)
	case "", "application/x-www-form-urlencoded", "text/plain":
	default:
		return nil, badRequest("The Content-Type is not accepted; send application/x-www-form-urlencoded.")
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '<') {
		return nil, badRequest("The body is no form; send application/x-www-form-urlencoded.")
	}
	return parseForm(string(body))
}

func parseMultipart(contentType string, body []byte) (tokenForm, *tokenFailure) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, badRequest("The Content-Type has no boundary.")
	}
	form := tokenForm{}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return form, nil
		}
		if err != nil {
			return nil, badRequest("The body is not well-formed multipart/form-data.")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, badRequest("The body is not well-formed multipart/form-data.")
		}
		if failure := form.add(part.FormName(), string(value)); failure != nil {
			return nil, failure
		}
	}
}

// parseForm reads name=value pairs. Some clients send their values as they are,
// without escaping; two things tell. A value with a % that begins no escape, or
// with a character that every encoder escapes, is taken literally. And where a
// value has a character that a form encoder escapes, as the @ of an address, a
// + is a plus sign: only form encoders write it for a space.
func parseForm(body string) (tokenForm, *tokenFailure) {
	type pair struct{ name, value string }
	var pairs []pair
	plus := false
	for field := range strings.SplitSeq(strings.TrimRight(body, "\r\n"), "&") {
		if field == "" {
			continue
		}
		if len(pairs) == maxTokenFields {
			return nil, tooManyFields()
		}
		name, value, _ := strings.Cut(field, "=")
		name = unescape(name, false)
		pairs = append(pairs, pair{name, value})
		// The colons of a grant type stand as they are even in bodies that are
		// otherwise escaped.
		plus = plus || (!strings.EqualFold(name, "grant_type") && !made(value, formSafe))
	}
	form := tokenForm{}
	for _, p := range pairs {
		if made(p.value, uriSafe) {
			p.value = unescape(p.value, plus)
		}
		if failure := form.add(p.name, p.value); failure != nil {
			return nil, failure
		}
	}
	return form, nil
}

// add sets a field. One that comes twice is refused (RFC 6749, 3.2): which of
// the two counts would be a matter of taste.
func (f tokenForm) add(name, value string) *tokenFailure {
	name = strings.ToLower(strings.TrimSpace(name))
	if _, ok := f[name]; ok {
		if len(name) > 32 {
			return badRequest("A field is sent twice.")
		}
		return badRequest("The field " + name + " is sent twice.")
	}
	if len(f) == maxTokenFields {
		return tooManyFields()
	}
	f[name] = value
	return nil
}

func tooManyFields() *tokenFailure { return badRequest("The body has too many fields.") }

// What encoders leave as it is, beside letters and digits.
const (
	// formSafe is what an encoder of form values leaves, at most.
	formSafe = "-_.~*!'()+"
	// uriSafe is what an encoder of whole URIs leaves, as JavaScript's encodeURI.
	uriSafe = formSafe + ";,/?:@=$#"
)

// made reports whether s can be the work of an encoder that leaves the
// characters of safe: it has no others, and every % begins an escape.
func made(s, safe string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if !isEscape(s[i:]) {
				return false
			}
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(safe, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// unescape decodes escapes and leaves alone what is none. A plus sign becomes a
// space unless plus is set.
func unescape(s string, plus bool) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && isEscape(s[i:]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		case s[i] == '+' && !plus:
			out = append(out, ' ')
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func isEscape(s string) bool {
	return len(s) >= 3 && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
