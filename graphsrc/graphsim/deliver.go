package graphsim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"ucwagate/graphsrc/clock"
)

// replaces reports whether the fault answers in place of the route.
func (f RouteFault) replaces() bool { return f.Status != 0 || f.Body != "" }

// errorCodes are the codes Graph sends with a status.
var errorCodes = map[int]string{
	http.StatusBadRequest:          "BadRequest",
	http.StatusUnauthorized:        "InvalidAuthenticationToken",
	http.StatusForbidden:           "Authorization_RequestDenied",
	http.StatusNotFound:            "Request_ResourceNotFound",
	http.StatusGone:                "syncStateNotFound",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalServerError",
	http.StatusBadGateway:          "BadGateway",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
	http.StatusGatewayTimeout:      "GatewayTimeout",
}

// reply is the answer that the fault gives in place of the route.
func (f RouteFault) reply(c *call) reply {
	status := or(f.Status, http.StatusOK)
	r := faultyBody(f.Body, status, c)
	if value, ok := retryAfter(string(f.RetryAfter), c.now); ok {
		r.header = map[string]string{"Retry-After": value}
	}
	return r
}

// faultyBody is an error of a status in one of the forms of RouteFault.Body.
func faultyBody(form string, status int, c *call) reply {
	code := or(errorCodes[status], "UnknownError")
	r := reply{status: status, contentType: "application/json"}
	switch form {
	case "json-without-message":
		r.body = object{{"error", object{{"code", code}}}}.append(nil)
	case "html":
		r.contentType = "text/html; charset=utf-8"
		r.body = fmt.Appendf(nil, "<!DOCTYPE html><html><head><title>%d</title></head><body><h1>%d %s</h1></body></html>",
			status, status, http.StatusText(status))
	case "empty":
		r.contentType = ""
	case "truncated":
		whole := c.errorBody(status, code)
		r.body = whole[:len(whole)/2]
	case "garbage":
		r.body = []byte("\x00\xff\x17{]garbage\xc3\x28\x1f\x8b")
	default:
		r.body = c.errorBody(status, code)
	}
	return r
}

func (c *call) errorBody(status int, code string) []byte {
	if status == http.StatusTooManyRequests {
		return c.throttledBody()
	}
	return errorBody(code, http.StatusText(status), c.now, c.requestID, c.clientRequestID)
}

// throttledBody is the body of a 429 as the throttling guidance shows it.
func (c *call) throttledBody() []byte {
	const status = "429"
	return object{{"error", object{
		{"code", "TooManyRequests"},
		{"message", "Please retry again later."},
		{"innerError", object{
			{"code", status},
			{"date", c.now.UTC().Format("2006-01-02T15:04:05")},
			{"message", "Please retry after"},
			{"request-id", c.requestID},
			{"client-request-id", c.clientRequestID},
			{"status", status},
		}},
	}}}.append(nil)
}

// retryAfter turns a setting into the value of the header.
func retryAfter(setting string, now time.Time) (string, bool) {
	switch setting {
	case "", "none":
		return "", false
	case "date":
		return now.Add(5 * time.Second).UTC().Format(http.TimeFormat), true
	case "past":
		return now.Add(-time.Minute).UTC().Format(http.TimeFormat), true
	}
	return setting, true
}

// throttled is the limit's own 429.
func (t *Tenant) throttled(c *call, wait time.Duration) reply {
	shape := t.faults.get().Throttle
	setting := string(shape.RetryAfter)
	switch setting {
	case "":
		setting = strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	case "exact":
		setting = strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)
	}
	r := faultyBody(shape.Body, http.StatusTooManyRequests, c)
	if value, ok := retryAfter(setting, c.now); ok {
		r.header = map[string]string{"Retry-After": value}
	}
	return r
}

// deliver writes an answer, as far as the fault lets it.
func (t *Tenant) deliver(w http.ResponseWriter, r *http.Request, answer reply, fault RouteFault) {
	header := w.Header()
	for name, value := range answer.header {
		header.Set(name, value)
	}
	if answer.contentType != "" && len(answer.body) > 0 {
		header.Set("Content-Type", answer.contentType)
	}
	body := answer.body
	if len(body) > 0 && (acceptsGzip(r) || fault.TruncatedGzip) {
		zipped, err := t.zip.zip(body)
		if err != nil {
			t.log.Error("simulator cannot compress", "error", err)
		} else {
			body = zipped
			header.Set("Content-Encoding", "gzip")
			header.Set("Vary", "Accept-Encoding")
		}
	}
	if fault.TruncatedGzip {
		body = body[:len(body)/2]
	}
	if answer.status != http.StatusNoContent && answer.status != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(answer.status)
	t.writeBody(w, r, body, time.Duration(fault.SlowBody)*time.Millisecond)
}

// slowPiece is the size of a piece of a slow body.
const slowPiece = 1 << 10

func (t *Tenant) writeBody(w http.ResponseWriter, r *http.Request, body []byte, pause time.Duration) {
	for pause > 0 && len(body) > 0 {
		piece := body[:min(slowPiece, len(body))]
		body = body[len(piece):]
		if _, err := w.Write(piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // only makes the pieces visible earlier
		if !t.wait(r.Context(), pause) {
			return
		}
	}
	_, _ = w.Write(body) // a client that left is no error of ours
}

// wait passes time by the tenant's clock; it is false if ctx ended before.
func (t *Tenant) wait(ctx context.Context, d time.Duration) bool { return clock.Wait(ctx, t.clock, d) }

// misbehave does what of a fault comes before or in place of an answer, and
// reports whether the request is finished with. c may be nil.
func (t *Tenant) misbehave(w http.ResponseWriter, r *http.Request, fault RouteFault, c *call) bool {
	if fault.DelayMs > 0 && !t.wait(r.Context(), time.Duration(fault.DelayMs)*time.Millisecond) {
		return true
	}
	if fault.Reset {
		reset(w)
		return true
	}
	if c == nil && fault.replaces() {
		t.deliver(w, r, fault.reply(t.newCall(r)), fault)
		return true
	}
	return false
}

// reset drops the connection so that the client sees a reset; where the
// connection cannot be had (HTTP/2), the stream is reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the documented way to abort an answer
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the client sees an orderly end
	}
	_ = conn.Close()
}
