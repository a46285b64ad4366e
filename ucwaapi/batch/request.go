package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// Request is one request of a batch.
type Request struct {
	// Method is the method as written. It is a token and not empty.
	Method string
	// Target is the request target as written, a path or an absolute URL. It is
	// neither checked nor cleaned, except that it is not empty, has no control
	// characters, and that a space within it has become "%20": clients send
	// searches unescaped.
	Target string
	// Header has the headers of the request, Host among them, with canonical
	// names. What a part has no say in is left out, see ownHeader.
	Header http.Header
	// Body is the body without a byte order mark; nil if there is none. It is
	// the content of a header "Data" where there is one and no body, which is
	// how the sample library sends the input of a POST; "application/json" is
	// then the Content-Type if the request names none.
	Body []byte
}

// parseRequest reads the content of a part: its MIME headers, a request line,
// headers, a body. It returns the reason if there is no sense in it. The
// request does not refer to the content.
//
// Before the request line, lines that look like headers are MIME headers and
// empty lines are skipped, so that a part without MIME headers, and with or
// without the empty line after them, is understood as well.
func parseRequest(content []byte, headerBytes int) (request *Request, reason string) {
	request = &Request{Header: http.Header{}}
	partHeader := http.Header{}
	for rest, read := bytes.TrimPrefix(content, byteOrderMark), 0; ; {
		var line []byte
		line, rest = cutLine(rest)
		if len(line) == 0 && len(rest) == 0 {
			break // of the content, or of the headers before an empty body
		}
		if len(line) == 0 && request.Method == "" {
			rest = bytes.TrimPrefix(rest, byteOrderMark)
			continue
		}
		if len(line) == 0 {
			request.Body = body(rest)
			break
		}
		name, value, isHeader := headerLine(line)
		if !(isHeader && strings.EqualFold(name, dataHeader)) {
			read += len(line)
		}
		switch {
		case read > headerBytes:
			return nil, "the header lines are too long"
		case line[0] == ' ' || line[0] == '\t':
			return nil, "a folded header line"
		case bytes.ContainsFunc(line, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f }):
			return nil, "a control character in a header line"
		case request.Method == "" && isHeader:
			partHeader.Add(name, value)
		case request.Method == "":
			request.Method, request.Target, reason = requestLine(string(line))
			if reason != "" {
				return nil, reason
			}
		case isHeader:
			request.Header.Add(name, value)
		default:
			return nil, "a line that is not a header"
		}
	}
	if reason := checkPartHeader(partHeader); reason != "" {
		return nil, reason
	}
	if request.Method == "" {
		return nil, "no request line"
	}
	takeData(request)
	ownHeader(request.Header)
	return request, ""
}

// cutLine cuts the first line off, without its line end. Headers that end with
// the content, or with a single line end before the delimiter's own, are
// complete.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// headerLine splits a header line. It is one if a token stands directly before
// the first colon (RFC 9112 §5.1), which sets it apart from any request line.
func headerLine(line []byte) (name, value string, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(string(line[:colon])) {
		return "", "", false
	}
	return string(line[:colon]), string(bytes.Trim(line[colon+1:], " \t")), true
}

// requestLine reads "METHOD target HTTP/1.x". More white space than needed, and
// a missing version, are tolerated.
func requestLine(line string) (method, target, reason string) {
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if !isToken(fields[0]) {
		return "", "", "no request line"
	}
	words := fields[1:]
	if last := len(words) - 1; last >= 0 && len(words[last]) >= 5 && strings.EqualFold(words[last][:5], "HTTP/") {
		if !strings.HasPrefix(words[last][5:], "1.") {
			return "", "", "not HTTP/1"
		}
		words = words[:last]
	}
	if len(words) == 0 {
		return "", "", "a request line without a target"
	}
	return fields[0], strings.Join(words, "%20"), ""
}

// body returns a copy of the body without its byte order mark. Line ends alone
// are not a body: clients differ in how many they put before a delimiter.
func body(content []byte) []byte {
	content = bytes.TrimPrefix(content, byteOrderMark)
	if len(bytes.Trim(content, "\r\n")) == 0 {
		return nil
	}
	return bytes.Clone(content)
}

// checkPartHeader returns the reason why a part with these MIME headers cannot
// be read. Both headers are optional: the documentation asks for
// Content-Transfer-Encoding and has none in its examples. A Content-Length is
// ignored, the delimiter decides.
func checkPartHeader(h http.Header) (reason string) {
	for _, value := range h.Values("Content-Type") {
		if value == "" {
			continue
		}
		typ, params, err := mime.ParseMediaType(value)
		if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || typ != "application/http" {
			return "the content type is not application/http"
		}
		if kind := params["msgtype"]; kind != "" && !strings.EqualFold(kind, "request") {
			return "the part is not a request"
		}
	}
	for _, value := range h.Values("Content-Transfer-Encoding") {
		switch strings.ToLower(value) {
		case "", "7bit", "8bit", "binary":
		default:
			return "a transfer encoding that is not supported"
		}
	}
	return ""
}

// dataHeader is the name of the header in which the sample library (Batch.js,
// createDataPart) puts the JSON of a POST.
const dataHeader = "Data"

// takeData makes the header "Data" the body if there is no body, and removes it
// in any case.
func takeData(r *Request) {
	data := r.Header.Get(dataHeader)
	r.Header.Del(dataHeader)
	if r.Body != nil || data == "" {
		return
	}
	r.Body = []byte(data)
	if r.Header.Get("Content-Type") == "" && json.Valid(r.Body) {
		r.Header.Set("Content-Type", "application/json")
	}
}

// notOwn are the headers in which a part has no say.
var notOwn = map[string]bool{
	// They are about the connection or about the transfer of the part, which is
	// over. The body's length is its length.
	"Connection": true, "Content-Length": true, "Content-Transfer-Encoding": true, "Expect": true, "Keep-Alive": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	// An answer stands uncompressed in its part; the whole may be compressed.
	"Accept-Encoding": true,
	// Who is calling, and from where, is what the outer request says. It is the
	// one that was checked.
	"Authorization": true, "Cookie": true, "Proxy-Authorization": true,
	"Origin": true, "X-Ms-Origin": true, "Forwarded": true, "X-Real-Ip": true,
}

// ownHeader removes what a part has no say in: headers about the connection,
// the length and the encodings, credentials, origin, and those that reverse
// proxies set (Forwarded, X-Forwarded-*, X-Real-IP).
func ownHeader(h http.Header) {
	for name := range h {
		if notOwn[name] || strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
}

// isToken says whether s is a token of RFC 9110 §5.6.2, as a method and the
// name of a header have to be.
func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || '9' < c) && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return s != ""
}
