package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"

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
	*entrance
	sink   Sink
	keys   *Keyring
	tokens *Tokens

	queue   *queue
	hints   *hints
	ctx     context.Context // of the workers' requests; ended by Close
	cancel  context.CancelFunc
	workers sync.WaitGroup
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
		entrance: newEntrance(tenant, cfg.Subscriptions, cfg.MaxBody, cfg.Logger, cfg.Clock),
		sink:     cfg.Sink, keys: cfg.Keys, tokens: cfg.Tokens,
		queue: newQueue(workers, cmp.Or(cfg.Queue, DefaultQueue)),
		hints: newHints(cfg.Clock),
	}
	r.complaints.told = cfg.Refused
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
	r.serve(w, req, r)
}

func (r *Receiver) validated(context.Context) { r.Validated() }

// Validated counts a validation that another replica answered.
func (r *Receiver) Validated() { r.counts.validations.Add(1) }

// keeps nothing: the items are queued as they were read.
func (*Receiver) keeps() io.Writer { return nil }

// Take takes a delivery that came to another replica, as if it had come here. It
// reports false if it should be given once more later, where Graph is answered
// with 503.
func (r *Receiver) Take(delivery []byte) bool {
	r.counts.deliveries.Add(1)
	d, err := r.read(bytes.NewReader(delivery))
	if err != nil {
		r.unreadable(err)
		return true
	}
	return r.accept(r.ctx, d, nil) == http.StatusAccepted
}

// accept queues what was read.
func (r *Receiver) accept(_ context.Context, d *delivery, _ io.Writer) int {
	if len(d.tasks) == 0 {
		return http.StatusAccepted
	}
	d.proof = sync.OnceValue(func() proof { return r.tokens.prove(r.ctx, d.tokens) })
	if !r.queue.put(d) {
		r.counts.queueFull.Add(1)
		r.complaints.about("the queue was full or closed, the delivery was put off")
		return http.StatusServiceUnavailable
	}
	return http.StatusAccepted
}
