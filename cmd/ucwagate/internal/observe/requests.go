package observe

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"ucwagate/gateway"
	"ucwagate/graphsrc/clock"
	"ucwagate/ucwaapi"
)

// Route is where a request goes.
type Route struct {
	// Template is the route's path with names in place of what varies; empty:
	// none that is known.
	Template string
	// PGet says that the request is one of an event channel, which is held open.
	PGet bool
}

// Access says which requests have a line in the access log.
type Access int

// The kinds of access log.
const (
	AccessOff    Access = iota
	AccessErrors        // answered 400 or above, or broken off
	AccessAll
)

// User is a person as logs show them; what is not known is empty.
type User struct {
	Tenant   string // its name in the configuration
	ObjectID string // in Entra ID
	Account  string // pseudonym of the address
	Address  string // only where logs are to have it
}

// Attrs are the attributes of a log line that name u.
func (u User) Attrs() []slog.Attr {
	var list []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("tenant", u.Tenant), slog.String("account", u.Account), slog.String("object", u.ObjectID), slog.String("address", u.Address),
	} {
		if a.Value.String() != "" {
			list = append(list, a)
		}
	}
	return list
}

// Options are what NewRequests needs.
type Options struct {
	Access Access
	// Tracing is nil without traces.
	Tracing *Tracing
	// Trusted says of whom the trace that a request names is believed.
	Trusted func(*http.Request) bool
	// Client returns the address of the client.
	Client func(*http.Request) string
	// Whose finds out what logs show of somebody.
	Whose  func(gateway.Principal) User
	Logger *slog.Logger
	Clock  clock.Clock
}

// Requests records the requests of clients.
type Requests struct{ Options }

// NewRequests returns nil if nothing is to be recorded.
func NewRequests(o Options) *Requests {
	if o.Access == AccessOff && o.Tracing == nil {
		return nil
	}
	return &Requests{o}
}

// Middleware records the requests to next. It asks route for each before next
// sees it. A nil *Requests returns next itself.
func (q *Requests) Middleware(route func(*http.Request) Route, next http.Handler) http.Handler {
	if q == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { q.serve(next, w, r, route(r)) })
}

// record is what is known of one request.
type record struct {
	ucwaapi.Exchange
	route    Route
	method   string
	began    time.Time
	released time.Time // when the wait of a P-GET was over; zero: there was none
	answer   recorder
	span     trace.Span // nil without traces, and of a P-GET that waits
	returned bool
	left     bool // the client, before the answer
}

func (q *Requests) serve(next http.Handler, w http.ResponseWriter, r *http.Request, to Route) {
	one := &record{route: to, method: known(r.Method), began: q.Clock.Now(), answer: recorder{ResponseWriter: w}}
	ctx := r.Context()
	if q.Tracing != nil && q.Trusted(r) {
		ctx = incoming(ctx, r.Header)
	}
	outer := ctx
	if to.PGet {
		one.OnRelease = func() { one.released = q.Clock.Now() }
	} else if q.Tracing != nil {
		ctx, one.span = q.begin(ctx, one, one.began)
	}
	defer func() {
		one.left = r.Context().Err() != nil
		q.end(outer, r, one)
	}()
	next.ServeHTTP(&one.answer, r.WithContext(ucwaapi.WithExchange(ctx, &one.Exchange)))
	one.returned = true
}

func (q *Requests) begin(ctx context.Context, one *record, at time.Time) (context.Context, trace.Span) {
	name := one.method
	if one.route.Template != "" {
		name += " " + one.route.Template
	}
	return q.Tracing.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at))
}

func (q *Requests) end(ctx context.Context, r *http.Request, one *record) {
	now := q.Clock.Now()
	if q.Tracing != nil && one.span == nil {
		at := one.began
		if !one.released.IsZero() {
			at = one.released
		}
		_, one.span = q.begin(ctx, one, at)
	}
	var user User
	logged := q.Access == AccessAll || q.Access == AccessErrors && (one.answer.status >= http.StatusBadRequest || !one.returned)
	recorded := one.span != nil && one.span.IsRecording()
	if one.Principal.Address != "" && (logged || recorded) {
		user = q.Whose(one.Principal)
	}
	if one.span != nil {
		if recorded {
			one.describe(user)
		}
		one.span.End(trace.WithTimestamp(now))
	}
	if logged {
		q.log(r, one, user, now)
	}
}

// describe sets the attributes of the span.
func (one *record) describe(user User) {
	status := one.status()
	one.span.SetAttributes(attribute.String(attrMethod, one.method))
	if status != 0 {
		one.span.SetAttributes(attribute.Int(attrStatus, status))
	}
	if one.route.Template != "" {
		one.span.SetAttributes(attribute.String(attrRoute, one.route.Template))
	}
	if user.Tenant != "" {
		one.span.SetAttributes(attribute.String(attrTenant, user.Tenant))
	}
	if one.Parts > 0 {
		one.span.SetAttributes(attribute.Int(attrParts, one.Parts))
	}
	if !one.released.IsZero() {
		one.span.SetAttributes(attribute.Float64(attrHeld, one.released.Sub(one.began).Seconds()))
	}
	if status >= http.StatusInternalServerError || !one.returned {
		one.span.SetStatus(codes.Error, "")
	}
}

// status is that of the answer; 0: there was none, because the client has left
// or the handler has panicked.
func (one *record) status() int {
	if one.answer.status == 0 && one.returned && !one.left {
		return http.StatusOK // which net/http sends then
	}
	return one.answer.status
}

// log writes the line of the access log.
func (q *Requests) log(r *http.Request, one *record, user User, now time.Time) {
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs, slog.String("method", one.method), slog.String("route", one.route.Template), slog.Int("status", one.status()),
		slog.Int64("bytes", one.answer.bytes), slog.Float64("seconds", now.Sub(one.began).Seconds()), slog.String("peer", q.Client(r)))
	attrs = append(attrs, user.Attrs()...)
	if one.Application != "" {
		attrs = append(attrs, slog.String("application", one.Application))
	}
	if one.Parts > 0 {
		attrs = append(attrs, slog.Int("parts", one.Parts))
	}
	if one.span != nil && one.span.SpanContext().IsSampled() {
		attrs = append(attrs, slog.String("trace", one.span.SpanContext().TraceID().String()))
	}
	q.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch,
}

// known keeps what a client invents out of logs and spans.
func known(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "_OTHER"
}

// recorder notes the status and the size of an answer. http.ResponseController
// finds what else the writer can do by Unwrap.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing was written yet
	bytes  int64
}

// WriteHeader implements http.ResponseWriter. Informational answers are not the
// answer.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
