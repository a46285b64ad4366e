package batch

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const crlf = "\r\n"

// Response is the answer to one request of a batch.
type Response struct {
	// Status is the status code of a final response, 200 to 999.
	Status int
	// Header has the headers. Names are written as they are spelled here.
	Header http.Header
	// Body is the body; nil or empty if there is none.
	Body []byte
}

// Writer writes the answer to a batch. It is not for use by several goroutines
// at once.
type Writer struct {
	out      io.Writer
	boundary string
	parts    int
	part     bytes.Buffer // the part at hand, used again for the next
	closed   bool
	failed   error // what every further Add and Close returns
}

// NewWriter returns a Writer of an answer with that boundary (NewBoundary).
func NewWriter(w io.Writer, boundary string) *Writer {
	writer := &Writer{out: w, boundary: boundary}
	if !usableBoundary(boundary) || strings.ContainsAny(boundary, `"\`) {
		writer.failed = ErrBadBoundary
	}
	return writer
}

// ContentType returns the Content-Type of the answer.
func (w *Writer) ContentType() string { return mediaType + `; boundary="` + w.boundary + `"` }

// Add writes the answer to the next request; the order of the calls is the
// order of the requests. It writes a part as a whole or, with ErrStatus,
// ErrEncoded, ErrBoundaryInPart, nothing of it, so that another response can
// take its place. Every other error is final.
//
// For the parser of the sample library (Mime.js) more is done than multipart
// asks for:
//
//   - Content-Type is the last header, the others stand in alphabetical order:
//     every line after it is taken for the body.
//   - A header line that contains the words "Content-Type" or "HTTP/1.1" and is
//     neither (X-Content-Type-Options, Access-Control-Allow-Headers, Via) is
//     left out: it would be taken for that line.
//   - A text body stands on one line, see oneLine.
//
// Headers about the connection are left out, a Content-Length is corrected, and
// a response that by its status has no body (204, 304) has none, nor a
// Content-Type with 204. Line ends in the value of a header become spaces;
// names that are not tokens are left out, as net/http does.
func (w *Writer) Add(r *Response) error {
	if w.failed != nil {
		return w.failed
	}
	if w.closed {
		return ErrClosed
	}
	if r.Status < 200 || r.Status > 999 {
		return fmt.Errorf("writing part %d of a batch answer: %w", w.parts+1, ErrStatus)
	}
	w.part.Reset()
	if w.parts > 0 {
		w.part.WriteString(crlf)
	}
	w.part.WriteString("--" + w.boundary + crlf)
	start := w.part.Len()
	if err := w.response(r); err != nil {
		return fmt.Errorf("writing part %d of a batch answer: %w", w.parts+1, err)
	}
	// Clients split at this text wherever it stands, not only where a line
	// begins. With a boundary of NewBoundary it never does.
	if bytes.Contains(w.part.Bytes()[start:], []byte("--"+w.boundary)) {
		return fmt.Errorf("writing part %d of a batch answer: %w", w.parts+1, ErrBoundaryInPart)
	}
	if _, err := w.out.Write(w.part.Bytes()); err != nil {
		w.failed = fmt.Errorf("writing part %d of a batch answer: %w", w.parts+1, err)
		return w.failed
	}
	w.parts++
	return nil
}

// Close writes the closing delimiter. It does not close the underlying writer.
// A second call does nothing.
func (w *Writer) Close() error {
	if w.failed != nil || w.closed {
		return w.failed
	}
	w.closed = true
	closing := "--" + w.boundary + "--" + crlf
	if w.parts > 0 {
		closing = crlf + closing
	}
	if _, err := io.WriteString(w.out, closing); err != nil {
		w.failed = fmt.Errorf("closing a batch answer: %w", err)
	}
	return w.failed
}

// response writes MIME headers, status line, headers and body of a part.
func (w *Writer) response(r *Response) error {
	contentType, hasType := "", false
	names := make([]string, 0, len(r.Header))
	for name, values := range r.Header {
		switch {
		case len(values) == 0 || !isToken(name):
		case strings.EqualFold(name, "Content-Type"):
			if !hasType || name == "Content-Type" { // of two spellings always the same one
				contentType, hasType = sanitize(values[0]), true
			}
		case strings.EqualFold(name, "Content-Encoding"):
			if values[0] != "" && !strings.EqualFold(values[0], "identity") {
				return ErrEncoded
			}
		case !aboutConnection(name):
			names = append(names, name)
		}
	}
	slices.Sort(names)

	body := r.Body
	if r.Status == http.StatusNoContent || r.Status == http.StatusNotModified {
		body = nil
	}
	hasType = hasType && r.Status != http.StatusNoContent
	body = oneLine(body, contentType)

	w.part.WriteString("Content-Type: application/http; msgtype=response" + crlf + crlf)
	w.part.WriteString("HTTP/1.1 " + strconv.Itoa(r.Status) + " " + reasonPhrase(r.Status) + crlf)
	for _, name := range names {
		if strings.EqualFold(name, "Content-Length") {
			if r.Status != http.StatusNoContent && r.Status != http.StatusNotModified {
				w.header(name, strconv.Itoa(len(body)))
			}
			continue
		}
		for _, value := range r.Header[name] {
			value = sanitize(value)
			if !misleading(name) && !misleading(value) {
				w.header(name, value)
			}
		}
	}
	if hasType {
		w.header("Content-Type", contentType)
	}
	w.part.WriteString(crlf)
	w.part.Write(body)
	return nil
}

func (w *Writer) header(name, value string) {
	w.part.WriteString(name)
	w.part.WriteString(": ")
	w.part.WriteString(value)
	w.part.WriteString(crlf)
}

// reasonPhrase is never empty: some clients want three words.
func reasonPhrase(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Unknown"
}

// aboutConnection says whether a header belongs to a connection, which a part
// has not got.
func aboutConnection(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// misleading says whether the sample library would take a line with this text
// for a Content-Type or for a status line. It minds the letter case.
func misleading(text string) bool {
	return strings.Contains(text, "Content-Type") || strings.Contains(text, "HTTP/1.1")
}

// sanitize makes the value of a header one line: control characters become
// spaces, so that no value can begin another header or a part.
func sanitize(value string) string {
	if hasControl(value) {
		value = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, value)
	}
	return strings.Trim(value, " ")
}

// oneLine returns a text body without a byte order mark and without line ends:
// the sample library splits at CRLF and parses each line by itself. Line ends
// at both ends are removed (nothing may stand before an XML declaration),
// others become one space, which in JSON, in XML markup and in HTML stands for
// white space as well. Scripts in HTML may rely on line ends, but have no place
// in a batch. In JSON "HTTP/1.1" is written with an escaped slash, because a
// line with that text is taken for a status line.
//
// A body of another kind, such as a picture, is left as it is: it would be
// destroyed, and the multipart format carries it.
func oneLine(body []byte, contentType string) []byte {
	text, isJSON := textType(contentType)
	if !text {
		return body
	}
	body = bytes.TrimPrefix(body, byteOrderMark)
	if bytes.ContainsAny(body, "\r\n") {
		body = bytes.Trim(body, "\r\n")
		body = bytes.ReplaceAll(body, []byte(crlf), []byte(" "))
		body = bytes.ReplaceAll(body, []byte("\r"), []byte(" "))
		body = bytes.ReplaceAll(body, []byte("\n"), []byte(" "))
	}
	if isJSON && bytes.Contains(body, []byte("HTTP/1.1")) {
		body = bytes.ReplaceAll(body, []byte("HTTP/1.1"), []byte(`HTTP\/1.1`))
	}
	return body
}

// textType says whether a body of this type is text, and whether it is JSON. A
// body without a type is taken for text.
func textType(contentType string) (text, isJSON bool) {
	if contentType == "" {
		return true, false
	}
	typ, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		typ, _, _ = strings.Cut(contentType, ";")
		typ = strings.ToLower(strings.TrimSpace(typ))
	}
	if typ == "application/json" || strings.HasSuffix(typ, "+json") {
		return true, true
	}
	return typ == "application/xml" || strings.HasSuffix(typ, "+xml") || strings.HasPrefix(typ, "text/"), false
}
