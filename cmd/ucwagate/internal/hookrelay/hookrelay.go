// Package hookrelay brings a delivery of Graph to the replica that expects it:
// Graph delivers to whichever replica the load balancer picks, and only the one
// that subscribed has the key and knows the subscription.
//
//	Graph ─POST─▶ any replica ─PUBLISH─▶ the one that Serves ─RPUSH─▶ any replica ─▶ Graph
//
// It owns the way there and back. It must never know what is delivered: bodies
// pass through Redis encrypted, as Graph sent them, and are kept nowhere.
package hookrelay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/clock"
)

const (
	// atOnce bounds the deliveries that wait for an answer: each holds a connection
	// to Redis, and anybody may deliver.
	atOnce = 16
	// patience is how long an answer may take: Graph wants one within three
	// seconds.
	patience = 2500 * time.Millisecond
	// kept is how long an answer that nobody fetches is kept, in seconds.
	kept = 10
	// pause is the time between two tries to subscribe.
	pause = time.Second
)

// Relay is one tenant's way from every replica to the one that serves.
type Relay struct {
	client  rueidis.Client
	channel string
	maxBody int64
	turns   chan struct{}
	clock   clock.Clock
	log     *slog.Logger
}

// request is a delivery on its way, and response its answer.
type request struct {
	Reply       string // the key of the answer
	Method      string
	Path, Query string
	ContentType string
	Body        []byte
}

type response struct {
	Status      int
	ContentType string
	RetryAfter  string
	Body        []byte
}

// Options say whose deliveries go where.
type Options struct {
	Client rueidis.Client // not closed
	Prefix string         // of Redis keys and channels
	Tenant string
	// MaxBody bounds a delivery, in bytes.
	MaxBody int64
	Clock   clock.Clock
	Logger  *slog.Logger // nil for none
}

// New returns the relay of a tenant.
func New(o Options) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Relay{
		client: o.Client, channel: o.Prefix + ":hook:" + o.Tenant, maxBody: o.MaxBody, turns: make(chan struct{}, atOnce),
		clock: o.Clock, log: o.Logger,
	}
}

// Serve answers with h what arrives at other replicas, until ctx ends.
func (r *Relay) Serve(ctx context.Context, h http.Handler) {
	var answering sync.WaitGroup
	defer answering.Wait()
	for ctx.Err() == nil {
		subscribe := r.client.B().Subscribe().Channel(r.channel).Build()
		_ = r.client.Receive(ctx, subscribe, func(m rueidis.PubSubMessage) {
			// Each on its own: the connection is not to wait for any.
			answering.Go(func() { r.answer(ctx, h, m.Message) })
		})
		wait(ctx, r.clock, pause)
	}
}

func (r *Relay) answer(ctx context.Context, h http.Handler, message string) {
	var asked request
	if err := json.Unmarshal([]byte(message), &asked); err != nil {
		r.log.WarnContext(ctx, "a delivery from another replica cannot be read", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, asked.Method, asked.Path+"?"+asked.Query, bytes.NewReader(asked.Body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", asked.ContentType)
	w := &recorder{header: make(http.Header)}
	h.ServeHTTP(w, req)
	answer, err := json.Marshal(response{cmp.Or(w.status, http.StatusOK), w.header.Get("Content-Type"), w.header.Get("Retry-After"), w.body.Bytes()})
	if err != nil {
		return
	}
	for _, result := range r.client.DoMulti(ctx,
		r.client.B().Rpush().Key(asked.Reply).Element(string(answer)).Build(),
		r.client.B().Expire().Key(asked.Reply).Seconds(kept).Build(),
	) {
		if err := result.Error(); err != nil {
			r.log.WarnContext(ctx, "the answer to a delivery did not reach the other replica", "error", err)
			return
		}
	}
}

// ServeHTTP has the delivery answered by the replica that serves. Where none
// answers in time it is 503, and Graph delivers again.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	default:
		again(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		return // the connection is broken
	}
	answer, err := r.ask(req, body)
	if err != nil {
		r.log.WarnContext(req.Context(), "a delivery did not reach the replica that expects it", "error", err)
		again(w)
		return
	}
	if answer.ContentType != "" {
		w.Header().Set("Content-Type", answer.ContentType)
	}
	if answer.RetryAfter != "" {
		w.Header().Set("Retry-After", answer.RetryAfter)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // Graph has gone if it fails
}

// again has Graph deliver once more.
func again(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "10")
	http.Error(w, "nobody expects deliveries at the moment", http.StatusServiceUnavailable)
}

func (r *Relay) ask(req *http.Request, body []byte) (response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	// One slot for all answers is as good as any; each lives for a moment.
	reply := r.channel + ":" + strings.ToLower(rand.Text())
	message, err := json.Marshal(request{reply, req.Method, req.URL.Path, req.URL.RawQuery, req.Header.Get("Content-Type"), body})
	if err != nil {
		return response{}, err
	}
	if err := r.client.Do(ctx, r.client.B().Publish().Channel(r.channel).Message(string(message)).Build()).Error(); err != nil {
		return response{}, err
	}
	popped, err := r.client.Do(ctx, r.client.B().Blpop().Key(reply).Timeout(patience.Seconds()).Build()).AsStrSlice()
	if err != nil {
		return response{}, err
	}
	var answer response
	if len(popped) != 2 || json.Unmarshal([]byte(popped[1]), &answer) != nil || answer.Status < 200 || answer.Status > 599 {
		return response{}, errors.New("the answer cannot be read")
	}
	return answer, nil
}

// recorder is an answer on its way to another replica.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func wait(ctx context.Context, clk clock.Clock, d time.Duration) {
	over := make(chan struct{})
	t := clk.AfterFunc(d, func() { close(over) })
	defer t.Stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}
