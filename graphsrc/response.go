package graphsrc

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what an error carries away from an answer, so that a hostile or
// broken peer cannot fill the log.
const (
	maxMessage    = 512            // bytes of Error.Message
	maxCode       = 128            // bytes of Error.Code
	maxRequestID  = 128            // bytes of Error.RequestID
	maxRetryAfter = 24 * time.Hour // longest Error.RetryAfter
	maxNesting    = 16             // depth to which inner errors are followed
)

// goneCodes are the codes with which Graph disowns a delta token; they come
// with 400, 404 or 410.
//
// Source: https://learn.microsoft.com/en-us/graph/delta-query-overview
var goneCodes = map[string]bool{
	"syncstatenotfound":              true,
	"syncstateinvalid":               true,
	"resyncrequired":                 true,
	"resyncchangesapplydifferences":  true,
	"resyncchangesuploaddifferences": true,
}

// ResponseError turns an answer of Graph that is not a success into an error.
// body is what was read of it, possibly cut short; resp's own body is not
// touched. It never fails: whatever the body is, the status, the request id
// and Retry-After are kept. A status of 2xx, 1xx or 3xx gives KindMalformed,
// because an answer with one of these comes here only if it makes no sense.
func ResponseError(op string, resp *http.Response, body []byte) *Error {
	e := &Error{
		Op:         op,
		Status:     resp.StatusCode,
		RequestID:  clean(resp.Header.Get("request-id"), maxRequestID),
		RetryAfter: retryAfter(resp.Header),
	}
	found := readErrorBody(resp.Header.Get("Content-Type"), body)
	e.Code, e.Message = found.code, found.message
	if e.RequestID == "" {
		e.RequestID = found.requestID
	}
	e.Kind = kindOf(e.Status, found.gone)
	return e
}

// TransportError turns the failure to get an answer at all (network, TLS,
// deadline, cancellation) into an error. An *Error already in err's chain is
// returned as it is, apart from a missing Op. A cancelled context gives
// KindTimeout like a passed deadline; errors.Is tells the two apart. err must
// not be nil.
func TransportError(op string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		named := *known
		if named.Op == "" {
			named.Op = op
		}
		return &named
	}
	// url.Error spells out the whole URL, and with it the people asked for.
	var inURL *url.Error
	if errors.As(err, &inURL) && inURL.Err != nil {
		err = inURL.Err
	}
	e := &Error{Op: op, Kind: KindUnavailable, Err: err}
	var timed net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &timed) && timed.Timeout()) {
		e.Kind = KindTimeout
	}
	return e
}

func kindOf(status int, gone bool) Kind {
	switch {
	case status < 400:
		return KindMalformed
	case gone && status < 500, status == http.StatusGone:
		return KindGone
	}
	switch status {
	case http.StatusUnauthorized:
		return KindUnauthorized
	case http.StatusForbidden:
		return KindForbidden
	case http.StatusNotFound:
		return KindNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return KindTimeout
	case http.StatusTooManyRequests, 509: // 509: bandwidth limit exceeded
		return KindThrottled
	}
	if status < 500 {
		return KindInvalid
	}
	return KindUnavailable
}

// errorBody is what could be learnt from the body of an error.
type errorBody struct {
	code, message, requestID string
	gone                     bool
}

// readErrorBody reads Graph's error object,
//
//	{"error":{"code":…,"message":…,"innerError":{"code":…,"request-id":…}}}
//
// where everything may be missing, null or of another type, and where the body
// may be no JSON at all: front ends and proxies answer with HTML or nothing.
func readErrorBody(contentType string, body []byte) errorBody {
	if len(body) == 0 {
		return errorBody{}
	}
	var outer map[string]json.RawMessage
	if err := json.Unmarshal(body, &outer); err != nil {
		kind, _, _ := strings.Cut(contentType, ";")
		if kind = clean(kind, 64); kind == "" {
			kind = "of no type"
		}
		return errorBody{message: "the body (" + kind + ") is not a JSON object"}
	}
	var found errorBody
	if text, ok := asString(outer["error"]); ok {
		found.message = clean(text, maxMessage)
		return found
	}
	level := asObject(outer["error"])
	for depth := 0; level != nil && depth < maxNesting; depth++ {
		found.add(level)
		level = inner(level)
	}
	return found
}

// add notes one level of an error object; levels come outermost first, so a
// later code is a deeper one and wins, unless it says less: front ends repeat
// the status as a code ("429"), and a code that means a lost delta token
// stands however deep it lies.
func (b *errorBody) add(level map[string]json.RawMessage) {
	if code, ok := asString(level["code"]); ok {
		code = clean(code, maxCode)
		if _, err := strconv.Atoi(code); code != "" && err != nil && !b.gone {
			b.code = code
			b.gone = goneCodes[strings.ToLower(code)]
		}
	}
	if message, ok := asString(level["message"]); ok && b.message == "" {
		b.message = clean(message, maxMessage)
	}
	if id, ok := asString(level["request-id"]); ok && b.requestID == "" {
		b.requestID = clean(id, maxRequestID)
	}
}

// inner returns the nested error: documented as innererror, seen as innerError.
func inner(level map[string]json.RawMessage) map[string]json.RawMessage {
	for _, name := range [...]string{"innererror", "innerError", "innerexception"} {
		if next := asObject(level[name]); next != nil {
			return next
		}
	}
	return nil
}

func asObject(raw json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &object) != nil {
		return nil
	}
	return object
}

func asString(raw json.RawMessage) (string, bool) {
	var text *string
	if len(raw) == 0 || json.Unmarshal(raw, &text) != nil || text == nil {
		return "", false
	}
	return *text, true
}

// retryAfter reads Retry-After as whole seconds, as seconds with a fraction
// (Graph sends those) or as a date. A moment in the past, a negative number and
// nonsense are 0; the longest is maxRetryAfter.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case math.IsNaN(seconds) || seconds <= 0:
			return 0
		case seconds >= maxRetryAfter.Seconds():
			return maxRetryAfter
		}
		return time.Duration(math.Ceil(seconds * float64(time.Second)))
	}
	when, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The sender's own clock, where it is given, keeps a skewed local one out.
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(when.Sub(now), 0), maxRetryAfter)
}

// anAddress matches what could be somebody's address, such as Graph quotes from a
// request that it refuses.
var anAddress = regexp.MustCompile(`[^\s'"<>()\[\]{}=,;/:]+@[^\s'"<>()\[\]{}=,;/:]+`)

// clean makes foreign text fit for one line of a log: valid UTF-8, no control
// characters, nobody's address, at most limit bytes.
func clean(text string, limit int) string {
	if len(text) > 4*limit {
		text = text[:4*limit]
	}
	if strings.Contains(text, "@") {
		text = anAddress.ReplaceAllString(text, "(address)")
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
