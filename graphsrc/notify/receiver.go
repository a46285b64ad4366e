package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

const (
	// DefaultMaxBody bounds the body of a delivery, in bytes.
	DefaultMaxBody = 1 << 20
	// DefaultQueue is how many items may wait to be worked on.
	DefaultQueue = 4096
	// maxWorkers bounds the default number of workers: with one processor a
	// worker opens about a thousand items a second.
	maxWorkers = 4

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

// Event is what a lifecycle notification tells of a subscription.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-lifecycle-events
type Event string

// The lifecycle events. For presence only the first is documented to occur.
const (
	// ReauthorizationRequired asks for a renewal before notifications stop.
	ReauthorizationRequired Event = "reauthorizationRequired"
	// SubscriptionRemoved says that the subscription is gone.
	SubscriptionRemoved Event = "subscriptionRemoved"
	// Missed says that changes were not notified of.
	Missed Event = "missed"
)

// Sink takes what notifications say. Both methods are called by several
// goroutines, in the order of arrival as far as one person or one subscription
// is concerned, and should return soon: the workers wait for them. Graph
// delivers some notifications twice, or minutes late.
type Sink interface {
	// Changed gets at least one change; the slice is the sink's to keep.
	Changed(changes []graphsrc.PresenceChange)
	// Lifecycle gets one of the three events above.
	Lifecycle(subscriptionID string, event Event)
}

// Subscriptions tells which notifications are expected.
type Subscriptions interface {
	// Knows reports whether clientState is the secret of that subscription, or
	// the secret of one that is just being made: Graph may deliver before the
	// answer with the subscription's id is here. It compares in constant time,
	// is called by several goroutines before Graph is answered, and must not
	// wait for anything that itself waits for Graph.
	Knows(subscriptionID, clientState string) bool
}

// Config says what a Receiver works with.
type Config struct {
	// TenantID (a GUID) is the tenant whose notifications are accepted.
	TenantID      string
	Subscriptions Subscriptions
	Sink          Sink
	Keys          *Keyring
	Tokens        *Tokens
	// MaxBody bounds the body of a delivery, in bytes; zero means DefaultMaxBody.
	MaxBody int64
	// Queue is how many items may wait; zero means DefaultQueue. One delivery
	// may exceed it when nothing waits.
	Queue int
	// Workers is the number of goroutines that work on items; zero means one
	// per processor, four at the most.
	Workers int
	// Refused is told whenever the log is that something was turned away: once a
	// minute at most for each reason. Nil: nobody is told.
	Refused func()
	// Logger is nil for none.
	Logger *slog.Logger
	// Clock is nil for the system's.
	Clock clock.Clock
}

// Receiver is the endpoint for notifications and lifecycle notifications alike:
// mounted once or under two paths, it tells them apart by their content. It
// authenticates by itself. Read time-outs are the server's matter: as long as it
// waits for the end of a body, one of the 16 deliveries that are read at a time is
// taken by it, so a few seconds should do.
type Receiver struct {
	tenant  string
	subs    Subscriptions
	sink    Sink
	keys    *Keyring
	tokens  *Tokens
	maxBody int64

	reading    chan struct{} // has an element for each delivery that is read
	queue      *queue
	hints      *hints
	ctx        context.Context // of the workers' requests; ended by Close
	cancel     context.CancelFunc
	workers    sync.WaitGroup
	counts     counters
	complaints *complaints
}

var _ http.Handler = (*Receiver)(nil)

// NewReceiver checks the configuration and starts the workers, which end with Close.
func NewReceiver(cfg Config) (*Receiver, error) {
	tenant := strings.ToLower(cfg.TenantID)
	switch {
	case !guid.MatchString(tenant):
		return nil, fmt.Errorf("tenant id %q: not a GUID", cfg.TenantID)
	case cfg.Subscriptions == nil || cfg.Sink == nil || cfg.Keys == nil || cfg.Tokens == nil:
		return nil, errors.New("receiving notifications needs subscriptions, a sink, keys and tokens")
	case cfg.MaxBody < 0 || cfg.Queue < 0 || cfg.Workers < 0:
		return nil, errors.New("a limit of receiving notifications is negative")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	workers := cmp.Or(cfg.Workers, min(runtime.GOMAXPROCS(0), maxWorkers))
	r := &Receiver{
		tenant: tenant, subs: cfg.Subscriptions, sink: cfg.Sink, keys: cfg.Keys, tokens: cfg.Tokens,
		maxBody:    cmp.Or(cfg.MaxBody, DefaultMaxBody),
		reading:    make(chan struct{}, maxReading),
		queue:      newQueue(workers, cmp.Or(cfg.Queue, DefaultQueue)),
		hints:      newHints(cfg.Clock),
		complaints: newComplaints(cfg.Logger, cfg.Clock, cfg.Refused),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, shard := range r.queue.shards {
		r.workers.Go(func() {
			for j := range shard {
				r.work(j)
				r.queue.done(len(j.tasks))
			}
		})
	}
	return r, nil
}

// Close answers further deliveries with 503, has what was accepted worked on,
// without waiting for the network, and returns when the workers have ended.
func (r *Receiver) Close() {
	r.cancel()
	r.queue.close()
	r.workers.Wait()
}

// ServeHTTP answers Graph: validation of the URL, or a delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if req.Method != http.MethodPost {
		header.Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	if query := req.URL.Query(); query.Has("validationToken") {
		r.validate(w, query.Get("validationToken"))
		return
	}
	status := r.deliver(w, req)
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
func (r *Receiver) validate(w http.ResponseWriter, token string) {
	markup := func(c rune) bool { return c == '<' || c == '>' || unicode.IsControl(c) }
	if token == "" || len(token) > maxValidationToken || !utf8.ValidString(token) || strings.ContainsFunc(token, markup) {
		r.counts.unreadable.Add(1)
		http.Error(w, "The validation token is malformed.", http.StatusBadRequest)
		return
	}
	r.counts.validations.Add(1)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	_, _ = io.WriteString(w, token)
}

// deliver reads a delivery, queues what is accepted of it and returns the status
// to answer with. Whatever is wrong with the items is no reason for another
// status: Graph would redeliver, and others would learn from it.
func (r *Receiver) deliver(w http.ResponseWriter, req *http.Request) int {
	r.counts.deliveries.Add(1)
	select {
	case r.reading <- struct{}{}:
	default:
		r.counts.busy.Add(1)
		r.complaints.about("too many deliveries came at a time, one was put off")
		w.Header().Set("Connection", "close") // else the server waits for the body before it answers
		return http.StatusServiceUnavailable
	}
	d, err := r.readOne(w, req)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge) || errors.Is(err, errTooMuch):
		r.counts.unreadable.Add(1)
		r.complaints.about("a delivery was too large")
		return http.StatusRequestEntityTooLarge
	case err != nil:
		r.counts.unreadable.Add(1)
		r.complaints.about("a delivery could not be read")
		return http.StatusBadRequest
	case len(d.tasks) == 0:
		return http.StatusAccepted
	}
	d.proof = sync.OnceValue(func() proof { return r.prove(d.tokens) })
	if !r.queue.put(d) {
		r.counts.queueFull.Add(1)
		r.complaints.about("the queue was full or closed, the delivery was put off")
		return http.StatusServiceUnavailable
	}
	return http.StatusAccepted
}

// readOne reads the body of a request, and ends its turn.
func (r *Receiver) readOne(w http.ResponseWriter, req *http.Request) (*delivery, error) {
	defer func() { <-r.reading }()
	return r.read(http.MaxBytesReader(w, req.Body, r.maxBody))
}
