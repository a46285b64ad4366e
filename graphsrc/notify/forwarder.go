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
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
)

// provingTime is for how long a delivery waits for its tokens to be verified,
// which takes longer than a moment only while the sign-in service's keys are
// fetched. Graph wants an answer within three seconds.
const provingTime = time.Second

// Relay hands on to the replica that has subscribed. Both methods return within a
// second.
type Relay interface {
	// Deliver hands on a delivery: a body to be given to Receiver.Take there. An
	// error says that Graph has to come again. What is not proven to be Graph's
	// may be anybody's.
	Deliver(ctx context.Context, body []byte, proven bool) error
	// Validated says that the URL was validated here. It may be lost.
	Validated(ctx context.Context)
}

// ForwarderConfig says what a Forwarder works with.
type ForwarderConfig struct {
	// TenantID (a GUID) is the tenant whose notifications are handed on.
	TenantID string
	Tokens   *Tokens
	Relay    Relay
	// MaxBody bounds the body of a delivery, in bytes; zero means DefaultMaxBody.
	MaxBody int64
	// Refused is told as a Receiver's is.
	Refused func()
	// Logger is nil for none.
	Logger *slog.Logger
	// Clock is nil for the system's.
	Clock clock.Clock
}

// Forwarder is the endpoint at a replica that has not subscribed: it answers
// validations, and hands deliveries on. It knows neither keys nor the secrets of
// subscriptions, so what it can check is the form, the tenant and the validation
// tokens. What without a good token would mean nothing to a Receiver, it drops.
//
// It holds 16 bodies at a time, and each once more while it is read.
type Forwarder struct {
	*entrance
	tokens *Tokens
	relay  Relay
	ctx    context.Context // of verifying; ended by Close
	cancel context.CancelFunc
	turns  chan struct{} // has an element for each delivery whose tokens are verified

	mu      sync.Mutex // held while proving may grow
	proving sync.WaitGroup
}

var _ http.Handler = (*Forwarder)(nil)

// NewForwarder checks the configuration.
func NewForwarder(cfg ForwarderConfig) (*Forwarder, error) {
	tenant := strings.ToLower(cfg.TenantID)
	switch {
	case !guid.MatchString(tenant):
		return nil, fmt.Errorf("tenant id %q: not a GUID", cfg.TenantID)
	case cfg.Tokens == nil || cfg.Relay == nil:
		return nil, errors.New("handing notifications on needs tokens and a relay")
	case cfg.MaxBody < 0:
		return nil, errors.New("a limit of handing notifications on is negative")
	}
	log := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	f := &Forwarder{
		entrance: newEntrance(tenant, anySubscription{}, cfg.MaxBody, log, cfg.Clock),
		tokens:   cfg.Tokens, relay: cfg.Relay, turns: make(chan struct{}, maxReading),
	}
	f.complaints.told = cfg.Refused
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// Close ends what is being verified. Deliveries that still come are not proven.
func (f *Forwarder) Close() {
	f.mu.Lock()
	f.cancel()
	f.mu.Unlock()
	f.proving.Wait()
}

// ServeHTTP answers Graph: validation of the URL, or a delivery.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, req *http.Request) { f.serve(w, req, f) }

func (f *Forwarder) validated(ctx context.Context) {
	f.counts.validations.Add(1)
	f.relay.Validated(ctx)
}

func (*Forwarder) keeps() io.Writer { return new(bytes.Buffer) }

// accept hands on what may mean something to the Receiver.
func (f *Forwarder) accept(ctx context.Context, d *delivery, kept io.Writer) int {
	if len(d.tasks) == 0 {
		return http.StatusAccepted
	}
	proof := f.prove(ctx, d.tokens)
	if proof == refuted && !d.needsNone() {
		f.counts.badTokens.Add(1)
		f.complaints.about("the validation tokens of a delivery with encrypted items were missing or false")
		return http.StatusAccepted
	}
	if err := f.relay.Deliver(ctx, kept.(*bytes.Buffer).Bytes(), proof == proven); err != nil {
		f.counts.queueFull.Add(1)
		f.complaints.about("a delivery could not be handed on to the replica that has subscribed, and was put off", "error", err)
		return http.StatusServiceUnavailable
	}
	return http.StatusAccepted
}

// needsNone reports whether an item is taken on the word of its clientState.
func (d *delivery) needsNone() bool {
	for _, t := range d.tasks {
		if t.event != "" || t.content == nil {
			return true
		}
	}
	return false
}

// prove verifies tokens for a while. What is under way goes on: the keys that are
// being fetched serve the next delivery.
func (f *Forwarder) prove(ctx context.Context, tokens []string) proof {
	if len(tokens) == 0 {
		return refuted
	}
	ctx, cancel := context.WithTimeout(ctx, provingTime)
	defer cancel()
	select {
	case p := <-f.proof(tokens):
		return p
	case <-ctx.Done():
		return unknown
	}
}

// proof yields what the tokens prove, once it is known.
func (f *Forwarder) proof(tokens []string) <-chan proof {
	result := make(chan proof, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		result <- unknown
		return result
	}
	select {
	case f.turns <- struct{}{}:
		f.proving.Go(func() {
			defer func() { <-f.turns }()
			result <- f.tokens.prove(f.ctx, tokens)
		})
	default:
		result <- unknown
	}
	return result
}

// anySubscription knows all: whose secret a clientState is, is known where the
// delivery is taken.
type anySubscription struct{}

func (anySubscription) Knows(string, string) bool { return true }
