package notify

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ucwagate/graphsrc/clock"
)

const (
	// maxValidationToken bounds the token that an URL is validated with, in bytes.
	maxValidationToken = 4096
	// maxReading is how many deliveries are read at a time. What reading one
	// holds is bounded by maxValue and by what is kept of it, so that all of them
	// take less than ten megabytes whoever sends them. One of Graph's is read in
	// milliseconds.
	maxReading = 16
	// retryAfter is what Graph is asked to wait when a delivery cannot be taken.
	// It redelivers for up to 4 hours.
	retryAfter = 10 * time.Second
)

// entrance is where Graph's requests come in: it speaks the protocol and bounds
// what anybody can send, whatever becomes of it then.
type entrance struct {
	tenant  string
	subs    Subscriptions
	maxBody int64

	reading    chan struct{} // has an element for each delivery under way
	counts     counters
	complaints *complaints
}

// inside is what stands behind an entrance.
type inside interface {
	// validated hears of each validation before it is answered.
	validated(ctx context.Context)
	// keeps returns where to write the body to while it is read; nil for nowhere.
	keeps() io.Writer
	// accept returns the status for a delivery that was read: 202 or 503. kept is
	// what keeps returned.
	accept(ctx context.Context, d *delivery, kept io.Writer) int
}

func newEntrance(tenant string, subs Subscriptions, maxBody int64, log *slog.Logger, clk clock.Clock) *entrance {
	return &entrance{
		tenant: tenant, subs: subs, maxBody: cmp.Or(maxBody, DefaultMaxBody),
		reading: make(chan struct{}, maxReading), complaints: newComplaints(log, clk),
	}
}

func (e *entrance) serve(w http.ResponseWriter, req *http.Request, in inside) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if req.Method != http.MethodPost {
		header.Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	if query := req.URL.Query(); query.Has("validationToken") {
		e.validate(w, req, query.Get("validationToken"), in)
		return
	}
	status := e.deliver(w, req, in)
	switch status {
	case http.StatusAccepted:
		w.WriteHeader(status)
		return
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	http.Error(w, http.StatusText(status), status)
}

// validate sends the token back, by which Graph sees that the URL is ours. Anyone
// can have anything sent back, so it goes out as plain text that no browser may
// take for something else, and what could be markup does not go out at all:
// escaping would make the validation fail, and Graph never sends any.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks#notificationurl-validation
func (e *entrance) validate(w http.ResponseWriter, req *http.Request, token string, in inside) {
	markup := func(c rune) bool { return c == '<' || c == '>' || unicode.IsControl(c) }
	if token == "" || len(token) > maxValidationToken || !utf8.ValidString(token) || strings.ContainsFunc(token, markup) {
		e.counts.unreadable.Add(1)
		http.Error(w, "The validation token is malformed.", http.StatusBadRequest)
		return
	}
	in.validated(req.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	_, _ = io.WriteString(w, token)
}

// deliver reads a delivery, has it accepted and returns the status to answer
// with. Whatever is wrong with the items is no reason for another status: Graph
// would redeliver, and others would learn from it.
func (e *entrance) deliver(w http.ResponseWriter, req *http.Request, in inside) int {
	e.counts.deliveries.Add(1)
	select {
	case e.reading <- struct{}{}:
		defer func() { <-e.reading }()
	default:
		e.counts.busy.Add(1)
		e.complaints.about("too many deliveries came at a time, one was put off")
		w.Header().Set("Connection", "close") // else the server waits for the body before it answers
		return http.StatusServiceUnavailable
	}
	kept := in.keeps()
	var body io.Reader = http.MaxBytesReader(w, req.Body, e.maxBody)
	if kept != nil {
		body = io.TeeReader(body, kept)
	}
	d, err := e.read(body)
	if err != nil {
		return e.unreadable(err)
	}
	return in.accept(req.Context(), d, kept)
}

// unreadable is the status for a delivery that could not be read.
func (e *entrance) unreadable(err error) int {
	e.counts.unreadable.Add(1)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) || errors.Is(err, errTooMuch) {
		e.complaints.about("a delivery was too large")
		return http.StatusRequestEntityTooLarge
	}
	e.complaints.about("a delivery could not be read")
	return http.StatusBadRequest
}
