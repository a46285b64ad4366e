package graphsrc

import (
	"fmt"
	"time"
)

// Kind says what an error of Graph means for a caller. It is decided here,
// once; nobody else looks at a status or an error code of Graph.
type Kind int

// The kinds. The zero value is never used.
const (
	_ Kind = iota
	// KindNotFound: the object does not exist in this tenant (404).
	KindNotFound
	// KindForbidden: the application lacks a permission (403).
	KindForbidden
	// KindUnauthorized: no token could be had, or Graph refuses it (401).
	KindUnauthorized
	// KindThrottled: Graph said 429, or the budget cannot serve the caller in time.
	KindThrottled
	// KindUnavailable: Graph is down or out of reach (5xx, network).
	KindUnavailable
	// KindTimeout: no answer in time (408, 504, deadline).
	KindTimeout
	// KindMalformed: an answer that makes no sense (HTML, truncated or wrong JSON on a 2xx).
	KindMalformed
	// KindInvalid: Graph refuses the request itself (400 and other 4xx).
	KindInvalid
	// KindGone: a delta token is no longer known (410, or syncStateNotFound).
	KindGone
)

// Error is the one error type of everything said to Graph.
type Error struct {
	Op         string // what was being done, for example "get presences by user id"
	Kind       Kind
	Status     int    // HTTP status, 0 if there was no answer
	Code       string // Graph's error code, innermost known
	Message    string // Graph's message, for logs only: never shown to a client
	RequestID  string // Graph's request-id
	RetryAfter time.Duration
	Err        error // cause, may be nil
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.String()
	if e.Status != 0 {
		s += fmt.Sprintf(" (%d %s)", e.Status, e.Code)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " [request-id " + e.RequestID + "]"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

var kindNames = [...]string{
	KindNotFound: "not found", KindForbidden: "forbidden", KindUnauthorized: "unauthorized",
	KindThrottled: "throttled", KindUnavailable: "unavailable", KindTimeout: "timed out",
	KindMalformed: "malformed answer", KindInvalid: "invalid request", KindGone: "gone",
}

func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", int(k))
}
