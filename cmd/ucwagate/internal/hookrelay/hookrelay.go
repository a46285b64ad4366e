// Package hookrelay brings what Graph delivers to any replica to the one that has
// subscribed: it alone has the keys, and knows the subscriptions.
//
//	Graph ─POST─▶ any replica ─ Deliver ─▶ Redis ─ Serve ─▶ the one that leads
//
// A tenant's deliveries wait in one stream for the one who leads, and are removed
// once it has taken them: those that came while nobody led are there for the next
// one. What waits is bounded in number, bytes and time, and more tightly if it is
// not proven to be Graph's. Whoever cannot hand a delivery on has Graph come again.
//
// It must never know what is delivered: bodies pass as Graph sent them, encrypted.
package hookrelay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/time/rate"

	"ucwagate/graphsrc/clock"
)

const (
	// Keep is how long a delivery waits: much longer than it takes until another
	// replica leads.
	Keep = 2 * time.Minute

	// patience bounds a command: Graph wants an answer within three seconds.
	patience = time.Second
)

// ErrFull is wrapped by the error of a delivery for which there is no room, or
// which came too soon after others.
var ErrFull = errors.New("too much waits for the replica that has subscribed")

// errNotNow says that the sink, or this replica, does not take what is there.
var errNotNow = errors.New("not now")

// kind is what an entry of the stream is.
type kind string

const (
	proven     kind = "p" // a delivery that is Graph's
	unproven   kind = "u" // a delivery that may be anybody's
	validation kind = "v" // no delivery: the address was validated
)

// bounds of what waits. Anybody can make validations and, with some knowledge of
// the tenant, unproven deliveries. Those of Graph are lifecycle notifications, some
// a day for each subscription, and rich ones while the sign-in service's keys
// cannot be had.
var bounds = map[kind]struct {
	number, bytes int
	body          int        // bytes of one
	each          rate.Limit // per second and replica, and as many at once
}{
	proven:     {number: 1024, bytes: 8 << 20, body: 1 << 20, each: 200},
	unproven:   {number: 64, bytes: 512 << 10, body: 64 << 10, each: 10},
	validation: {number: 16, each: 5},
}

// Sink takes what arrives.
type Sink interface {
	// Take takes a delivery. False: not now, but it may be given again.
	Take(delivery []byte) bool
	// Validated says that another replica has answered a validation.
	Validated()
}

// Options say whose deliveries go where.
type Options struct {
	Client rueidis.Client // not closed
	Prefix string         // of Redis keys
	Tenant string
	// Timeout bounds a command; more than a second, or zero, means a second.
	Timeout time.Duration
	Clock   clock.Clock  // nil for the system's
	Logger  *slog.Logger // nil for none
}

// Relay is one tenant's way to the replica that has subscribed. It is safe for
// concurrent use.
type Relay struct {
	o     Options
	keys  []string // the stream, and what is counted of it
	paces map[kind]*rate.Limiter
}

// New returns the relay of a tenant. It does not use the network.
func New(o Options) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Timeout <= 0 || o.Timeout > patience {
		o.Timeout = patience
	}
	slot := o.Prefix + ":{" + o.Tenant + ":hook}:"
	r := &Relay{o: o, keys: []string{slot + "queue", slot + "waiting"}, paces: make(map[kind]*rate.Limiter)}
	for k, b := range bounds {
		r.paces[k] = rate.NewLimiter(b.each, int(b.each))
	}
	return r
}

// Deliver hands a delivery on. After an error Graph has to come again; then it may
// arrive twice, as Graph's deliveries may anyway.
func (r *Relay) Deliver(ctx context.Context, body []byte, isProven bool) error {
	k := unproven
	if isProven {
		k = proven
	}
	return r.push(ctx, k, body)
}

// Validated tells the one that leads that the address was validated. That so many
// have been told of that one waits, or that Redis is away, is no matter: then it
// is known already, or nobody asks.
func (r *Relay) Validated(ctx context.Context) {
	if err := r.push(ctx, validation, nil); err != nil {
		r.o.Logger.DebugContext(ctx, "a validation was not told of", "tenant", r.o.Tenant, "error", err)
	}
}

// push appends to what waits, within the bounds.
func (r *Relay) push(ctx context.Context, k kind, body []byte) error {
	b := bounds[k]
	if len(body) > b.body || !r.paces[k].AllowN(r.o.Clock.Now(), 1) {
		return ErrFull // who comes too fast does not even reach Redis
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	room, err := pushScript.Exec(ctx, r.o.Client, r.keys, []string{
		string(k), rueidis.BinaryString(body), fmt.Sprint(b.number), fmt.Sprint(b.bytes), fmt.Sprint(Keep.Milliseconds()),
	}).AsInt64()
	switch {
	case err != nil:
		return fmt.Errorf("handing a delivery on: %w", err)
	case room == 0:
		return ErrFull
	}
	return nil
}
